"""Text from models, code and users, made safe to read: HTML escaped, invisible characters made visible."""

from __future__ import annotations

import html
import unicodedata


def visible(text: object) -> str:
    """`text` with control, bidirectional and other invisible characters written as ⟨U+XXXX⟩; newlines and tabs stay.

    >>> visible("a\\u202eb")
    'a⟨U+202E⟩b'
    """
    return "".join(
        f"⟨U+{ord(c):04X}⟩"
        if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") and c not in "\n\t"
        else c
        for c in str(text)
    )


def esc(text: object) -> str:
    """`text` for HTML content and for quoted attributes alike.

    >>> esc("</script>")
    '&lt;/script&gt;'
    """
    return html.escape(visible(text), quote=True)
