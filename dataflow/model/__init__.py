"""The model client: one streamed call to any OpenAI-compatible endpoint."""
