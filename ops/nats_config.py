"""The configuration of the embedded nats-server: two accounts, one of them for guests.

Pure. It must never give a client without the password anything but its own questions and answers.
"""

import hashlib
import json
import secrets
from pathlib import Path
from typing import Final

from shared import names
from shared.nats_errors import EMBEDDED_NAME

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
server_name: {name}
host: {host}
port: {port}
http: "{host}:{monitor_port}"  # without authentication, hence loopback
pid_file: {pid_file}
log_file: {log_file}
logfile_size_limit: 10MB
logfile_max_num: 2
max_payload: 1MB
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
jetstream {{
  store_dir: {store_dir}
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


def name_of(password: str) -> str:
    """The name of the server with this password, by which its clients recognize it."""
    return EMBEDDED_NAME + hashlib.sha256(password.encode()).hexdigest()[:12]


def written(*, host: str, port: int, monitor_port: int, folder: Path, password: str) -> str:
    """The file's text. Whoever has the password may do everything in the account of the streams."""
    return _CONFIG.format(
        name=name_of(password),
        pid_file=_quoted(folder / "nats.pid"),
        log_file=_quoted(folder / "nats-server.log"),
        store_dir=_quoted(folder / "js"),
        host=host,
        port=port,
        monitor_port=monitor_port,
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


def _quoted(path: Path) -> str:
    # A folder's name may hold quotes and backslashes; the config escapes them as JSON does.
    return json.dumps(str(path), ensure_ascii=False)
