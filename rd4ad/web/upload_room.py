"""What uploads to the explorer may take in memory, where Streamlit keeps them."""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from rd4ad.web.explorer.held_uploads import held_mib
from rd4ad.web.limits import refuse

_PATH = "/_stcore/upload_file"


class UploadRoom:
    """Answers 503 to an upload while those of all visitors take too much memory.

    Args:
        app: that answers.
        at_most_mib: of all files together.
    """

    def __init__(self, app: ASGIApp, at_most_mib: float) -> None:
        self.app, self.at_most_mib = app, at_most_mib

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if there is room for it."""
        is_upload = scope["type"] == "http" and scope["path"].startswith(_PATH)
        if is_upload and scope["method"] in ("PUT", "POST") and held_mib() > self.at_most_mib:
            said = {"detail": "There is no room for uploads at the moment: try again later."}
            refusal = JSONResponse(said, 503, {"Retry-After": "60"})
            await refuse(refusal, scope, receive, send)
            return
        await self.app(scope, receive, send)
