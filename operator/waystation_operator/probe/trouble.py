"""Why a probe ended, raised from wherever it did, and a server's words made fit to be repeated."""

import base64

from waystation_operator.plan.diagnosis import Case
from waystation_operator.plan.probing import Credential

MOST_CHARACTERS = 200


class TroubleError(Exception):
    """A case with its particulars (see ``diagnosis.Row``). ``login``: a login was tried and answered."""

    def __init__(self, case: Case, *, why: str = "", said: str = "", login: bool = False) -> None:
        super().__init__(case.name)
        self.case, self.why, self.said, self.login = case, why, said, login


def words(text: str, credential: Credential | None = None) -> str:
    """One printable line of bounded length, and no password in it, however the server repeats it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if credential is not None:
        for secret in _forms(credential):
            line = line.replace(secret, "…")
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}…"


def _forms(credential: Credential) -> list[str]:
    """The password as it is and as AUTH sends it, longest first."""
    user, password = credential.username.encode(), credential.password.encode()
    sent = (password, b"\0" + user + b"\0" + password)
    encoded = [base64.b64encode(form).decode() for form in sent]
    return sorted({credential.password, *encoded}, key=len, reverse=True)
