"""The gateway: any NATS client asks a question by plain request and reply."""
