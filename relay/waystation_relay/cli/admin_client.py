"""Calls to a relay's admin port, and what to say when one cannot be made.

Plain HTTP, never through a proxy: the port is this machine's or one forwarded
to it. Every failure is an ``AdminError`` whose text can be shown as it is.
"""

import contextlib
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ENVIRONMENT, MISTAKE = 1, 2
WITHIN_S = 600.0  # a change of a million messages takes its time
LARGEST_ANSWER_BYTES = 256 * 2**20
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class AdminError(Exception):
    """``exit_code``: what the command ends with. ``status``: the HTTP status; 0 when nobody answered."""

    def __init__(self, text: str, *, status: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.exit_code = MISTAKE if status == http.client.BAD_REQUEST else ENVIRONMENT


class AdminClient:
    """One relay. ``name`` is how people call it; "" when there is only one to speak of."""

    def __init__(self, url: str, token_file: Path | None, name: str = "") -> None:
        self.url, self.name = url.rstrip("/"), name
        self._token_file = token_file

    def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Any:
        return self._call("GET", path + (f"?{urllib.parse.urlencode(query)}" if query else ""), None)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        return self._call("POST", path, json.dumps(body).encode())

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(  # noqa: S310 -- the user names the URL; its scheme is checked
            self.url + path, data=body, method=method, headers=self._headers()
        )
        try:
            with _open(request, timeout=WITHIN_S) as answer:
                return json.loads(answer.read(LARGEST_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            raise AdminError(self._refusal(error), status=error.code) from None
        except urllib.error.URLError as error:
            raise self._unreachable(error.reason) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        except ValueError:
            raise AdminError(f"{self.url} does not answer like a relay; name its admin port") from None

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._token_file is not None:
            try:
                token = self._token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it is not text"
                raise AdminError(
                    f"the token file {self._token_file} cannot be read: {why}; "
                    "name another with --token-file, or run as its owner"
                ) from None
            if not token.isascii() or not token.isprintable():
                raise AdminError(f"the token file {self._token_file} does not hold a token")
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        """The relay's own words."""
        with contextlib.suppress(ValueError, OSError, http.client.HTTPException):
            said = json.loads(error.read(65536))
            if isinstance(said, dict) and "error" in said:
                return f"{said['error']}; {said.get('remedy', '')}".rstrip("; ")
        return f"{self.url} answered {error.code} {error.reason}"

    def _unreachable(self, why: object) -> AdminError:
        text = getattr(why, "strerror", None) or str(why) or type(why).__name__
        return AdminError(
            f"no relay answers at {self.url} ({text}); is it running? name its admin port with --admin URL"
        )
