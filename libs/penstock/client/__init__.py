"""A small client of the gateway (interface §5): synchronous, for programs and for the CLI.

    client = Client("http://127.0.0.1:8470", token)
    receipt = client.submit(definition_yaml=text, inputs={"target": "staging"})
    for record in follow_events(client, receipt["pipeline_id"], Patience()):
        print(record["state"])

| module    | holds                                                                                |
|-----------|--------------------------------------------------------------------------------------|
| `client`  | `Client`: one method a call; answers are the gateway's JSON objects as they came      |
| `records` | what those objects have                                                              |
| `follow`  | events and logs to their end, across restarts and over to another gateway             |
| `wire`    | one HTTP exchange: what goes wrong becomes `RetryLater` or `Refused`                  |
| `streams` | server-sent events out of lines; pure                                                 |

A client goes by `terminal`, never by lists of states or reasons of its own: a later gateway may have more.
Each call has a connection of its own, so one `Client` may be used by many threads.
"""

from penstock.client.client import Client
from penstock.client.follow import Patience, follow_events, follow_log
from penstock.client.wire import Busy, Refused

__all__ = ["Busy", "Client", "Patience", "Refused", "follow_events", "follow_log"]
