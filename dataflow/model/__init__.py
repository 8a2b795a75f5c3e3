"""The model: one streamed call to any OpenAI-compatible endpoint."""
