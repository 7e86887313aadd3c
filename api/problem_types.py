"""The kinds of problems: what each `type` of an error means, and what to do about it. `/docs/problems` shows them.

RFC 9457 lets a type be a name that no browser can open, and wants its documentation to be found all the same. An
address would have to be this installation's own, and so differ from one to the next; the name is the same
everywhere, and each answer links the page by its header `Link`.
"""

from __future__ import annotations

from dataclasses import dataclass

PAGE = "/docs/problems"


@dataclass(frozen=True)
class ProblemType:
    """One kind. `when` and `advice` are for people."""

    slug: str
    title: str
    when: str
    advice: str

    @property
    def urn(self) -> str:
        """The `type`, which stays as it is."""
        return f"urn:dcloud:problem:{self.slug}"


TYPES = {
    400: ProblemType(
        "bad-request",
        "The request makes no sense",
        "a query parameter or a header makes no sense, or the body is not as its headers say",
        "`detail` names it and says what is accepted. The same request again gets the same answer.",
    ),
    401: ProblemType(
        "unauthorized",
        "A token is needed",
        "no token, or one that is mistyped, expired or revoked",
        "Send `Authorization: Bearer dc_u_…`. `dcloud login` gets a token, and so does the page of your account.",
    ),
    403: ProblemType(
        "forbidden",
        "Not allowed",
        "the token's scope or the user's role does not allow it",
        "Use a token that has the scope which `detail` names, or ask an admin.",
    ),
    404: ProblemType(
        "not-found",
        "Not found",
        "no such thing, or it is somebody else's",
        "Look the id up in the list. What failed or was deleted is there for a week, or as long as the operator chose.",
    ),
    405: ProblemType(
        "method-not-allowed",
        "This method is not allowed here",
        "the address is right and the method is not",
        "Use one of those that the header `Allow` lists.",
    ),
    408: ProblemType(
        "too-slow",
        "The request took too long",
        "the body did not arrive within 20 seconds",
        "Send it again, whole.",
    ),
    409: ProblemType(
        "conflict",
        "Not possible in this state",
        "not possible in this state, or the first call with this `Idempotency-Key` is under way",
        "Look at the state and do what `detail` says. Where there is a `Retry-After`, send the same again after it.",
    ),
    410: ProblemType(
        "gone",
        "It has ended",
        "the channel has ended",
        "Begin another one.",
    ),
    412: ProblemType(
        "changed",
        "It has changed meanwhile",
        "it has changed since the version that `If-Match` names, or has no versions",
        "Look again, and repeat the call with the new `ETag` if it still makes sense.",
    ),
    413: ProblemType(
        "too-large",
        "The request is too large",
        "the body is too large; answered before it is read",
        "A contract has at most 64 KiB. Name fewer libraries, or put large values into a file inside.",
    ),
    415: ProblemType(
        "unsupported-media-type",
        "This format is not understood",
        "the media type is none that is read here",
        "Send one of those that `Accept-Post` (`Accept-Patch`, `Accept`) lists, with the `Content-Type` that says so.",
    ),
    422: ProblemType(
        "refused",
        "The document is refused",
        "the document is refused, or its `Idempotency-Key` came with another one before",
        "`errors` has each problem with its path; mend them all and send it again. For another document use a new key.",
    ),
    429: ProblemType(
        "too-many",
        "Too many requests",
        "too many requests or open streams of one user, or a command that does not read its input",
        "Wait for as long as `Retry-After` says. To watch, use one stream of events instead of many looks.",
    ),
    500: ProblemType(
        "internal",
        "Something in DCloud broke",
        "a defect of ours",
        "Give your operator the id in `instance`: the server's log has the details under it.",
    ),
    503: ProblemType(
        "unavailable",
        "Not available now",
        "Redis, the worker or a provider does not answer",
        "Try again after `Retry-After`. What was asked for may have been done: send a submit again with its key.",
    ),
}
OTHER = ProblemType(
    "error",
    "Error",
    "any other status",
    "The status is HTTP's own, and `detail` says what is known.",
)


def type_of(status: int) -> ProblemType:
    """The kind of problem that a status stands for."""
    return TYPES.get(status, OTHER)
