"""The gateway: plain NATS request and reply for any client."""
