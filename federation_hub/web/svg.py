"""SVG elements as escaped markup, so that a chart cannot be made without escaping.

Positions are percentages of the drawing's own box wherever they can be: a chart then follows its container while
strokes and letters keep their size, without a script and without a ``viewBox`` that would shrink the text.
"""

from markupsafe import Markup, escape

Attribute = str | int | float | None


def element(tag: str, *children: str | Markup, **attributes: Attribute) -> Markup:
    """Return ``<tag ...>children</tag>`` with every attribute and every plain string escaped.

    A trailing underscore is dropped from an attribute's name (``class_``), other underscores become hyphens, and an
    attribute that is ``None`` is left out.
    """
    # Every part is escaped here by hand: ``Markup.format`` does the same ten times slower, and a page has thousands.
    pairs = [
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
        if value is not None
    ]
    opening = tag + "".join(pairs)
    if not children:
        return Markup(f"<{opening}/>")  # noqa: S704
    inner = "".join([escape(child) for child in children])
    return Markup(f"<{opening}>{inner}</{tag}>")  # noqa: S704


def percent(share: float) -> str:
    """Return a share of the box (0 to 1) as an SVG percentage with a hundredth of precision."""
    return f"{round(100 * share, 2):g}%"


def drawing(*children: Markup, title: str, description: str, class_: str, height: int | None = None) -> Markup:
    """Return a whole picture with its name and its description for readers who do not see it."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *children,
        class_=class_,
        role="img",
        width="100%",
        height=height,
    )
