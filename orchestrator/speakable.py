"""From an LLM's text, as it comes, to text that can be spoken.

Markdown, HTML, emoji and control characters go; links and images become their text, URLs their host
("example dot com"), code its words, fenced code nothing; "2 * 3" becomes "2 times 3". White space is
one space. Where a paragraph, heading, list item or table row ends without punctuation, a full stop is
added. Tags in square brackets, such as [laugh], stay: some engines speak them as sounds.
"""

import re
from urllib.parse import urlsplit

LONGEST_HELD = 200
"""After so many characters, or a line's end, what opened a link text, tag or line mark is literal."""

LONGEST_URL = 2_000
"""The same for a URL or a link with its target."""


class SpeakableText:
    """A filter over text deltas.

    What it returns, joined, is the same for any split of the text into deltas. Text is held back only
    while its meaning depends on what follows: an open link, tag or URL, white space, a line's first marks.
    """

    def __init__(self) -> None:
        self._spoken = _Spoken()
        self._raw = ""  # what is not read yet, from self._at on
        self._at = 0
        self._before = ""  # the character before self._raw
        self._final = False
        self._line_start = True
        self._line_is_block = False  # a heading, list item or table row
        self._fence = ""  # the character of the open code fence
        self._in_code = False

    def feed(self, delta: str) -> str:
        """The speakable text that is certain now."""
        self._raw += delta
        self._read()
        return self._spoken.take()

    def finish(self) -> str:
        """The rest, once the text has ended."""
        self._final = True
        return self.feed("")

    def _read(self) -> None:
        while self._at < len(self._raw):
            if self._fence:
                certain = self._read_fenced_line()
            elif self._line_start:
                certain = self._read_line_start()
            else:
                certain = self._read_token()
            if not certain:
                break
        self._before = self._previous
        self._raw = self._raw[self._at :]
        self._at = 0

    @property
    def _previous(self) -> str:
        return self._raw[self._at - 1] if self._at else self._before

    def _match(self, pattern: re.Pattern[str], longest: int = LONGEST_HELD) -> re.Match[str] | None:
        return pattern.match(self._raw, self._at, self._at + longest)

    def _may_become(self, opening: re.Pattern[str], longest: int = LONGEST_HELD) -> bool:
        """Whether all that is left is the opening of something that more text could complete."""
        left = len(self._raw) - self._at
        return not self._final and left < longest and bool(opening.match(self._raw, self._at))

    # Each _read_… reads one thing at self._at. False: what it is depends on text that has not come yet.

    def _read_fenced_line(self) -> bool:
        end = self._raw.find("\n", self._at) + 1
        if not end and not self._final:
            return False
        end = end or len(self._raw)
        fence = _CLOSING_FENCE.fullmatch(self._raw, self._at, end)
        if fence and fence[1] == self._fence:
            self._fence = ""
        self._at = end
        return True

    def _read_line_start(self) -> bool:
        if self._may_become(_LINE_OPENING):
            return False
        if found := self._match(_OPENING_FENCE):
            self._fence = found[1]
            self._spoken.end_sentence()
        elif found := self._match(_WORDLESS_LINE):
            self._spoken.end_sentence()
        elif found := self._match(_LINE_MARK):
            self._line_start = found.lastgroup != "last"
            if found.lastgroup != "inner":
                self._line_is_block = True
                self._spoken.end_sentence()
        else:
            self._line_start = False
        self._at = found.end() if found else self._at
        return True

    def _read_token(self) -> bool:
        token = _TOKEN.match(self._raw, self._at)
        assert token, "the alternatives of _TOKEN cover every character"
        match token.lastgroup:
            case "word":
                return self._read_word(token)
            case "space":
                self._spoken.space()
            case "plain":
                self._spoken.put(token[0])
            case "newline":
                self._end_line()
            case "stars":
                return self._read_stars(token)
            case "run":
                return self._read_run(token)
            case "link":
                return self._read_link()
            case "angle":
                return self._read_angle()
            case "backtick":
                self._in_code = not self._in_code
            case "joiner" if "\u0600" <= self._previous <= "\u0dff":
                self._spoken.put(token[0])  # Arabic and Indic spelling needs it
            case "unspeakable":
                self._spoken.drop()
        self._at = token.end()
        return True

    def _end_line(self) -> None:
        if self._line_is_block:
            self._spoken.end_sentence()
        else:
            self._spoken.space()
        self._line_start = True
        self._line_is_block = self._in_code = False

    def _read_word(self, word: re.Match[str]) -> bool:
        within_word = self._previous.isascii() and self._previous.isalnum()
        if word[0][0] in "hHwW" and not within_word:
            if self._may_become(_URL_OPENING, LONGEST_URL):
                return False
            if url := self._match(_URL, LONGEST_URL):
                address = url[0].rstrip(_AFTER_URL)
                if host := _spoken_host(address):
                    self._spoken.put(host)
                    self._spoken.drop()
                    self._at += len(address)
                    return True
        self._spoken.put(word[0])
        self._at = word.end()
        return True

    def _read_stars(self, stars: re.Match[str]) -> bool:
        """Emphasis, which goes, or an operator between two operands, which is named."""
        if self._may_become(_STARS_OPENING):
            return False
        operator = self._match(_OPERATOR)
        if operator and self._spoken.ends_with_operand(spaced=bool(operator["spaced"])):
            self._spoken.space()
            self._spoken.put("to the power of" if operator["power"] else "times")
            self._spoken.space()
        self._at = stars.end()
        return True

    def _read_run(self, run: re.Match[str]) -> bool:
        """Underscores, tildes or a backslash: the character after them decides."""
        if run.end() == len(self._raw) and not self._final:
            return False
        before_word = self._raw[run.end() : run.end() + 1].isalnum()
        if run[0] == "~":
            self._spoken.put("~")
        elif before_word and (run[0] == "\\" or (run[0][0] == "_" and self._spoken.ends_with_word)):
            self._spoken.space()
        self._at = run.end()
        return True

    def _read_link(self) -> bool:
        image = self._previous.isspace() or self._previous in _BEFORE_IMAGE
        if self._raw[self._at] == "[" or image:
            if link := self._match(_LINK, LONGEST_URL):
                return self._read_inner(link)
            if self._may_become(_LINK_OPENING, LONGEST_URL):
                return False
        tag = self._match(_BRACKET_TAG)
        literal = tag[0] if tag else self._raw[self._at]
        self._spoken.put(literal)
        self._at += len(literal)
        return True

    def _read_angle(self) -> bool:
        if address := self._match(_ANGLE_ADDRESS):
            return self._read_inner(address)
        if tag := self._match(_HTML_TAG):
            if self._in_code:
                self._spoken.drop()
                self._spoken.put(tag[1])
                self._spoken.drop()
            elif _BLOCK_TAG.fullmatch(tag[1]):
                self._spoken.end_sentence()
            self._at = tag.end()
            return True
        if self._may_become(_ANGLE_OPENING):
            return False
        self._spoken.put("<")
        self._at += 1
        return True

    def _read_inner(self, whole: re.Match[str]) -> bool:
        inner = SpeakableText()
        if spoken := (inner.feed(whole[1]) + inner.finish()).strip():
            self._spoken.put(spoken)
        else:
            self._spoken.drop()
        self._at = whole.end()
        return True


class _Spoken:
    """What is spoken so far: one space between words, a full stop where a sentence ends without one."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._tail = ""  # its last characters, those taken too
        self._spaced = False  # white space came since
        self._dropped = False  # something unspeakable came since

    def take(self) -> str:
        text = "".join(self._parts)
        self._parts.clear()
        return text

    def put(self, text: str) -> None:
        if self._spaced or self._dropped:
            glued = self._dropped and text[0] in _GLUED_MARKS  # "so good 🎉!"
            if self._tail and self._tail[-1] != " " and not glued:
                self._append(" ")
            self._spaced = self._dropped = False
        self._append(text)

    def space(self) -> None:
        """After punctuation the space is certain; elsewhere a full stop may have to come before it."""
        if _ENDED.search(self._tail):
            self._append(" ")
        else:
            self._spaced = True

    def drop(self) -> None:
        self._dropped = True

    def end_sentence(self) -> None:
        if self._tail and self._tail[-1] != " ":
            stop = "。" if "\u3040" <= self._tail[-1] <= "\u9fff" else "."
            self._append(" " if _ENDED.search(self._tail) else f"{stop} ")
        self._spaced = self._dropped = False

    @property
    def ends_with_word(self) -> bool:
        return self._tail[-1:].isalnum()

    def ends_with_operand(self, *, spaced: bool) -> bool:
        """Whether a "*" that comes now can be an operator; `spaced`: white space follows it."""
        operand = _SPACED_OPERAND if spaced else _CLOSE_OPERAND
        return spaced == self._spaced and bool(operand.search(self._tail))

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._tail = (self._tail + text)[-4:]


def _spoken_host(address: str) -> str:
    host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
    return " dot ".join(part for part in host.removeprefix("www.").split(".") if part)


# Patterns. An …_OPENING matches any text that more text could turn into the thing.

_BLANK = r"[^\S\n]"
_WORDLESS = r"(?:[-*_=|:+>#—–]|[^\S\n])*"  # blank lines, rules, table rulings, underlines of titles
_WORDLESS_LINE = re.compile(rf"{_WORDLESS}(?:\n|\Z)")
_OPENING_FENCE = re.compile(rf"{_BLANK}*(?=([`~])\1\1)(?:`+[^`\n]*|~+[^\n]*)(?:\n|\Z)")
_CLOSING_FENCE = re.compile(rf"{_BLANK}*([`~])\1\1+{_BLANK}*\n?")
_LINE_MARK = re.compile(
    rf"{_BLANK}*(?:"
    rf"(?P<inner>>|\[[ xX]\]{_BLANK})"  # a quotation, a list item's check box
    rf"|(?P<outer>[-*+]{_BLANK}|[•◦▪‣●])"  # a list item, in which other marks may follow
    rf"|(?P<last>#{{1,6}}{_BLANK}|\||(?=\d{{1,3}}[.)]{_BLANK})))"  # a heading, a table row, "1. "
)
_LINE_OPENING = re.compile(
    rf"(?:{_WORDLESS}"
    rf"|{_BLANK}*(?:`{{1,2}}|~{{1,2}}|```+[^`\n]*|~~~[^\n]*|\[(?:[ xX]\]?)?|\d{{1,3}}[.)]?))\Z"
)

_URL_PART = r"[A-Za-z0-9\-._~:/?#@!$&+,;=%]*"
_URL_REST = rf"{_URL_PART}(?:\({_URL_PART}\){_URL_PART})*"  # with brackets, as Wikipedia has them
_URL = re.compile(rf"(?:https?://|www\.){_URL_REST}", re.IGNORECASE)
_URL_OPENING = re.compile(
    rf"(?:h|ht|htt|https?|https?:/?|w|ww|www|(?:https?://|www\.){_URL_REST}(?:\({_URL_PART})?)\Z",
    re.IGNORECASE,
)
_AFTER_URL = ".,;:!?_~"

_LINK_TEXT = rf"(?:[^\[\]\n]|\[[^\[\]\n]{{0,{LONGEST_HELD}}}\]){{0,{LONGEST_HELD}}}"
_LINK_TARGET = r"(?:[^()\n]|\([^()\n]*\))*"
_LINK = re.compile(rf"!?\[({_LINK_TEXT})\]\({_LINK_TARGET}\)")
_LINK_OPENING = re.compile(
    rf"(?:!|!?\[{_LINK_TEXT}(?:\[[^\[\]\n]{{0,{LONGEST_HELD}}}|\](?:\({_LINK_TARGET}(?:\([^()\n]*)?)?)?)\Z"
)
_BEFORE_IMAGE = "([|"
_BRACKET_TAG = re.compile(r"\[[A-Za-z][A-Za-z _-]{0,40}\]")

_ATTRIBUTE = rf"{_BLANK}+[\w:-]+=(?:\"[^\"<>\n]*\"|'[^'<>\n]*'|[^\s\"'<>]+)"
_ATTRIBUTE_OPENING = rf"{_BLANK}+[\w:-]+(?:=(?:\"[^\"<>\n]*|'[^'<>\n]*)?)?"
_HTML_TAG = re.compile(rf"</?([A-Za-z][\w:-]*)(?:{_ATTRIBUTE})*{_BLANK}*/?>")
_ANGLE_ADDRESS = re.compile(r"<([A-Za-z][^\s<>]*(?:://|@)[^\s<>]*)>")
_ANGLE_OPENING = re.compile(
    rf"<(?:/|[A-Za-z][^\s<>]*|/?[A-Za-z][\w:-]*(?:{_ATTRIBUTE})*(?:{_BLANK}*/?|{_ATTRIBUTE_OPENING}))?\Z"
)
_BLOCK_TAG = re.compile(r"br|div|h[1-6r]|li|ol|p|table|td|th|tr|ul", re.IGNORECASE)

_STARS_OPENING = re.compile(rf"\*+{_BLANK}*\Z")
_OPERATOR = re.compile(rf"\*(?P<power>\*)?(?P<spaced>{_BLANK}*)(?=(?(power)\d|[\w($€£-]))")
_SPACED_OPERAND = re.compile(r"[^\W_]\Z|\)\Z")
_CLOSE_OPERAND = re.compile(r"(?:\d|\)|(?:\A|\W)[A-Za-z])\Z")

_ENDED = re.compile(r"[.!?…,;:。！？｡、，；：—–-][\"'”’»)\]}」』）】]*\Z")
_GLUED_MARKS = ".,;:!?…)]。！？、，；：）"

_UNSEEN = (  # control and format characters, variation selectors, the box of a keycap, tags of flags
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e"
    r"\u2060-\u206f\u20d0-\u20ff\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff"
)
_UNSPEAKABLE = (  # bullets, arrows, technical signs, boxes, shapes, dingbats, private use, emoji
    r"\u2022\u2023\u2043\u2190-\u21ff\u2300-\u23ff\u2440-\u245f\u24c2\u2500-\u27bf\u27f0-\u27ff"
    r"\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299\ud800-\uf8ff\ufff0-\ufff8\ufffc-\uffff"
    r"\U0001f000-\U0001fbff\U000f0000-\U0010ffff"
)
_TOKEN = re.compile(
    rf"(?P<word>[A-Za-z0-9]+|[^\W\x00-\x7f{_UNSPEAKABLE}]+)"  # a URL may follow CJK at once
    rf"|(?P<space>(?:{_BLANK}|\|)+)|(?P<newline>\n)"
    rf"|(?P<plain>[^\w\s*~`!\[<|\\\u200c\u200d{_UNSEEN}{_UNSPEAKABLE}]+)"
    rf"|(?P<stars>\*+)|(?P<run>_+|~+|\\)|(?P<backtick>`)|(?P<link>!?\[|!)|(?P<angle><)"
    rf"|(?P<joiner>[\u200c\u200d])|(?P<unseen>[{_UNSEEN}]+)|(?P<unspeakable>[{_UNSPEAKABLE}]+)"
)
