"""One object out of a ``multipart/related`` answer (RFC 2387), byte for byte."""

from email.message import Message

from silo_node.wire.errors import BadInput


def only_part(content_type: str, body: bytes) -> bytes:
    """Return the body of the first part; an answer that is not multipart is returned whole.

    Raises :class:`BadInput` ``pacs-failed`` when the answer ends before the part does.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    if not message.get_content_type().startswith("multipart/") or not isinstance(boundary, str):
        return body
    mark = b"--" + boundary.encode("latin-1")
    # The mark of the first part may stand at the very start, without a line end before it.
    begin = body.find(mark)
    head_end = body.find(b"\r\n\r\n", begin)
    # A sender picks a boundary that is not in the object (RFC 2046 section 5.1.1).
    end = body.find(b"\r\n" + mark, max(head_end + 2, 0))
    if begin < 0 or head_end < 0 or end < 0:
        raise BadInput("pacs-failed", "an answer was cut short")
    return body[head_end + 4 : end]
