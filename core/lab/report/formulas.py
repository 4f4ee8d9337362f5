"""Formulas for browsers: LaTeX to MathML, which needs no script, no font and no network."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from latex2mathml.converter import convert
from markupsafe import Markup

from core.lab.errors import VhatError

_ELEMENTS = frozenset(
    """
    math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover
    mtable mtr mtd mstyle mpadded mphantom
    """.split()  # noqa: SIM905 (names, as one reads them)
)
_ATTRIBUTES = frozenset(
    """
    display displaystyle scriptlevel accent accentunder stretchy symmetric largeop movablelimits
    fence separator form width height depth lspace rspace minsize maxsize linethickness mathvariant
    columnalign rowspacing columnspacing
    """.split()  # noqa: SIM905 (names, as one reads them)
)

_CHILDREN = {
    "mfrac": 2,
    "mroot": 2,
    "msub": 2,
    "msup": 2,
    "munder": 2,
    "mover": 2,
    "msubsup": 3,
    "munderover": 3,
}


def formula(latex: str, *, display: bool = True) -> Markup:
    """MathML of a formula, safe within HTML: elements and attributes that only set mathematics.

    Raises:
        VhatError: if it cannot be read, or asks for anything else (a link, a style, a class).
    """
    try:
        text = convert(latex, display="block" if display else "inline")
        root = ET.fromstring(text)
    except Exception as error:
        # The converter has a dozen errors without a common parent.
        raise VhatError(
            f"formula {latex!r} cannot be read ({type(error).__name__}); mend the study's mathematics"
        ) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        strange = [*({element.tag} - _ELEMENTS), *(element.attrib.keys() - _ATTRIBUTES)]
        if strange:
            raise VhatError(f"formula {latex!r} holds {strange[0]}, which is no mathematics")
        if len(element) != _CHILDREN.get(element.tag, len(element)):
            raise VhatError(
                f"formula {latex!r} has an {element.tag} with a part missing; mend the study's mathematics"
            )
    return Markup(ET.tostring(root, encoding="unicode"))
