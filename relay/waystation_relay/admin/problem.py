"""What goes wrong in an admin call: a status, what is wrong, and what to do about it.

Every answer that is not a success has the body ``{"error": …, "remedy": …}``.
"""

import http

from aiohttp import web

REMEDIES = {
    http.HTTPStatus.NOT_FOUND: "docs/admin.md lists the paths",
    http.HTTPStatus.METHOD_NOT_ALLOWED: "docs/admin.md lists the methods of each path",
    http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "name the messages by a filter instead of one by one",
}


class Problem(Exception):  # noqa: N818 -- the word for what the client is told
    """Raised by handlers; the server makes the answer of it."""

    def __init__(self, status: int, error: str, remedy: str) -> None:
        super().__init__(error)
        self.status, self.error, self.remedy = status, error, remedy


def answer(problem: Problem, headers: dict[str, str] | None = None) -> web.Response:
    body = {"error": problem.error, "remedy": problem.remedy}
    return web.json_response(body, status=problem.status, headers=headers)


def of_http(error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals (no such path, body too large) in our form."""
    remedy = REMEDIES.get(http.HTTPStatus(error.status), "docs/admin.md describes the calls")
    allowed = error.headers.get("Allow")
    return answer(
        Problem(error.status, error.reason, remedy), headers={"Allow": allowed} if allowed else None
    )
