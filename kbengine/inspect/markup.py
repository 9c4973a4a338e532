"""Elements of HTML and SVG, which no text of a file can break out of.

The standard library's trees escape what is put into them and close what they open; what
cannot be seen, such as marks that turn the direction of text, is replaced before.
"""

from __future__ import annotations

from xml.etree import ElementTree

from kbengine.inspect.tables import clean

Element = ElementTree.Element


def element(name: str, /, *children: Element | str, **attributes: object) -> Element:
    """An element; attributes that Python has other words for end with an underscore, and
    other underscores stand for hyphens. Those of None are left out."""
    found = Element(name)
    for key, value in attributes.items():
        if value is not None:
            found.set(key.rstrip("_").replace("_", "-"), clean(value))
    add(found, *children)
    return found


def add(parent: Element, *children: Element | str) -> None:
    """Put elements and text behind what an element holds."""
    for child in children:
        if isinstance(child, Element):
            parent.append(child)
            continue
        text = "\n".join(map(clean, child.split("\n")))
        if len(parent):
            parent[-1].tail = (parent[-1].tail or "") + text
        else:
            parent.text = (parent.text or "") + text


def written(root: Element) -> str:
    """A whole page as HTML."""
    return f"<!DOCTYPE html>\n{ElementTree.tostring(root, encoding='unicode', method='html')}\n"
