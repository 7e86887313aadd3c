"""What went wrong, as a page that says what to do next. Programs get `api.problems` as everywhere."""

from __future__ import annotations

from flask import Flask, Response, current_app, g, request, url_for
from werkzeug.exceptions import HTTPException

from api.pages.blueprint import blueprint, page, see
from api.pages.sessions import following
from common import addresses

TITLES = {
    400: "That made no sense",
    403: "Not allowed",
    404: "Nothing is here",
    405: "That is not how it works",
    408: "That took too long",
    409: "Not possible just now",
    410: "That is over",
    412: "It has changed meanwhile",
    413: "That is too large",
    415: "That cannot be read",
    422: "It was refused",
    429: "Too much at once",
    503: "Not available for a moment",
}


def register(app: Flask) -> None:
    """Answer addresses that there are not as a page, for those who read pages."""
    app.register_error_handler(404, _nothing)


def answer_to(error: Exception) -> Response:
    """What the API says of an error."""
    handlers = current_app.error_handler_spec[None][None]
    handle = next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)
    return current_app.make_response(current_app.ensure_sync(handle)(error))


@blueprint.errorhandler(Exception)
def _failed(error: Exception) -> Response:
    answer = answer_to(error)
    if not _reads_pages() or answer.status_code < 400:
        return answer
    return _sign_in() if answer.status_code == 401 else _show(answer)


def _nothing(error: HTTPException) -> Response:
    answer = answer_to(error)
    return _show(answer) if _reads_pages() and not request.path.startswith("/api/") else answer


def _show(answer: Response) -> Response:
    body = answer.get_json(force=True)
    title = TITLES.get(answer.status_code, "Something in DCloud broke")
    return page(
        "failure.html", answer.status_code, title=title, detail=body["detail"], errors=body.get("errors", []),
        again="" if request.method == "GET" else following(_before()) or url_for("pages.home"),
        number=g.get("request_id", ""),
    )  # fmt: skip


def _sign_in() -> Response:
    """To the way in, and from there back."""
    at = request.full_path.rstrip("?") if request.method == "GET" else _before()
    return see(url_for("pages.home", next=at))


def _before() -> str:
    """The page with the form that was sent; what the form was sent to cannot be looked at."""
    return addresses.parts(request.referrer or "/").path


def _reads_pages() -> bool:
    return "text/html" in request.accept_mimetypes.values() and "Authorization" not in request.headers
