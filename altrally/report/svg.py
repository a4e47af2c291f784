"""Parts of pictures as SVG. Horizontal positions are in percent of the width, so that text keeps its size on any screen."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

EDGE = 0.03
WIDE = 1000  # units across, for paths, which can't be given in percent


def element(name: str, *children: str, **attributes: object) -> Markup:
    """An SVG element with every name and value escaped. `class_` stands for class, `stroke_width` for stroke-width."""
    values = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    text = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in values.items())
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), text, Markup("").join(children))


def picture(height: int, *children: str, says: str | None = None, **attributes: object) -> Markup:
    """A drawing as wide as its container and `height` pixels high; without `says` it is hidden from screen readers."""
    aria: dict[str, object] = {"aria_hidden": "true"} if says is None else {"role": "img", "aria_label": says}
    return element("svg", *children, width="100%", height=height, **aria, **attributes)


def across(value: float, low: float, high: float) -> str:
    """The position of a value between the ends of an axis as text in percent; outside the axis it is that of the end."""
    return f"{100 * place(value, low, high):.2f}%"


def place(value: float, low: float, high: float) -> float:
    """The position of a value between the ends of an axis, 0-1."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def line(x1: str, y1: object, x2: str, y2: object, kind: str) -> Markup:
    """A straight line with a CSS class."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def dot(x: str, y: object, radius: float, kind: str, tip: str | None = None) -> Markup:
    """A circle with a CSS class."""
    return element("circle", cx=x, cy=y, r=radius, class_=kind, data_tip=tip)


def bar(start: float, end: float, low: float, high: float, y: float, height: float, kind: str, tip: str | None = None) -> Markup:
    """A bar between two values, at least 0.15 % wide."""
    first, last = sorted((place(start, low, high), place(end, low, high)))
    width = max(100 * (last - first), 0.15)
    return element("rect", x=f"{100 * first:.2f}%", y=y, width=f"{width:.2f}%", height=height, class_=kind, data_tip=tip)


def label(x: str, y: object, text: str, kind: str = "tick", anchor: str = "middle") -> Markup:
    """A text in a picture."""
    return element("text", text, x=x, y=y, class_=kind, text_anchor=anchor)


def grid(ticks: Iterable[float], low: float, high: float, height: float) -> Markup:
    """Vertical grid lines at the ticks."""
    return Markup("").join(line(across(tick, low, high), 0, across(tick, low, high), height, "grid") for tick in ticks)


def axis(ticks: Iterable[tuple[float, str]], low: float, high: float) -> Markup:
    """Labels under a picture; those at the ends are aligned inwards."""
    words = []
    for value, text in ticks:
        where = place(value, low, high)
        anchor = "start" if where < EDGE else "end" if where > 1 - EDGE else "middle"
        words.append(label(across(value, low, high), 14, text, anchor=anchor))
    return picture(20, *words, class_="axis")


def path(points: Sequence[tuple[float, float] | None], kind: str, tip: str | None = None) -> Markup:
    """A line through points in shares of width and height (0 is the top); None breaks it."""
    steps, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        steps.append(f"{pen}{point[0] * WIDE:.1f} {point[1] * WIDE:.1f}")
        pen = "L"
    return element("path", d="".join(steps), class_=kind, data_tip=tip)


def stretched(*children: str) -> Markup:
    """Paths, stretched over the whole picture."""
    return element(
        "svg", *children, x=0, y=0, width="100%", height="100%", viewBox=f"0 0 {WIDE} {WIDE}", preserveAspectRatio="none"
    )
