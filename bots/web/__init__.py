"""The web page: a chat, a dashboard for operators, and everybody's own data."""
