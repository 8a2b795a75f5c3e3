"""The Slack adapter: events arrive over Socket Mode or HTTP, and answers go into the thread."""
