"""The configuration of the embedded nats-server: two accounts, one of them for guests.

Pure. It must never give a client without the password anything but its own questions and answers.
"""

import secrets
from pathlib import Path
from typing import Final

from shared import names

USER: Final = "threadwax"
GUEST: Final = "guest"

ACCOUNT: Final = "CHAT"
FORMER_ACCOUNT: Final = "$G"
"""The server's default account, in which older versions had their streams. It cannot export."""

GUEST_CONNECTIONS: Final = 64
GUEST_SUBSCRIPTIONS: Final = 32
"""Of one connection."""

GUEST_WAITS: Final = "15m"
"""Longer than any answer takes. The server forgets after this where an answer goes; its own default
is two minutes."""

_CONFIG: Final = """\
# Written at every start: changes here are lost.
server_name: threadwax
host: {host}
port: {port}
http: "{host}:{monitor_port}"  # without authentication, hence loopback
pid_file: "{folder}/nats.pid"
log_file: "{folder}/nats-server.log"
logfile_size_limit: 10MB
logfile_max_num: 2
max_payload: 1MB
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
jetstream {{
  store_dir: "{folder}/js"
  # By default JetStream acknowledges first and syncs every two minutes.
  sync_interval: always
  max_mem: 128MB
  # A ceiling for what the streams reserve together (3.3 GiB), not a check of the disk.
  max_file: 8GB
}}
accounts {{
  {account} {{
    jetstream: enabled
    users: [ {{ user: {user}, password: "{password}" }} ]
    exports: [
      {{ service: "{guests_subject}", accounts: [GUEST], response_threshold: "{guest_waits}" }}
    ]
  }}
  # Clients without credentials ask and hear the answers: nothing else. They have an account of
  # their own, so that the server itself says which requests are theirs.
  GUEST {{
    limits {{ max_connections: {guest_connections}, max_subscriptions: {guest_subscriptions} }}
    users: [
      {{ user: {guest}, password: "{guest_password}", permissions: {{
          publish: ["{gateway}"], subscribe: ["_INBOX.>"] }} }}
    ]
    imports: [
      {{ service: {{ account: {account}, subject: "{guests_subject}" }}, to: "{gateway}" }}
    ]
  }}
}}
no_auth_user: {guest}
"""


def written(*, host: str, port: int, monitor_port: int, folder: Path, password: str) -> str:
    """The file's text. Whoever has the password may do everything in the account of the streams."""
    return _CONFIG.format(
        host=host,
        port=port,
        monitor_port=monitor_port,
        folder=folder,
        account=ACCOUNT,
        user=USER,
        password=password,
        guest=GUEST,
        # The server wants one for the user that clients without credentials become.
        guest_password=secrets.token_urlsafe(16),
        guest_connections=GUEST_CONNECTIONS,
        guest_subscriptions=GUEST_SUBSCRIPTIONS,
        guest_waits=GUEST_WAITS,
        gateway=names.GATEWAY_SUBJECT,
        guests_subject=names.GUESTS_SUBJECT,
    )
