"""The containers of docker-compose.yml on a Docker engine: `make containers`."""
