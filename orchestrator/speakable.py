"""From an LLM's text, as it comes, to text that can be spoken.

Markdown, HTML, emoji and control characters go; links and images become their text, URLs their host
("example dot com"), code its words, fenced code nothing, HTML's entities their characters; "2 * 3" becomes
"2 times 3". White space becomes one space. A paragraph, heading, list item or table row that ends without
punctuation gets a full stop. Tags in square brackets, such as [laugh], stay: some engines make them sounds.
"""

import html
import re
from urllib.parse import urlsplit

from shared.sentences import CLOSING, MARKS

# After this many characters, or at a line's end, what opened one of these is literal.
LONGEST_HELD = 200  # a link text or tag
LONGEST_URL = 2_000  # a URL, a link with its target, or a line mark


class SpeakableText:
    """A filter over text deltas.

    Its output, joined, is the same for any split of the text into deltas. Text is held back only while
    its meaning depends on what follows: an open link, tag or URL, white space, a line's first marks.
    """

    def __init__(self) -> None:
        self._spoken = _Spoken()
        self._raw = ""  # not read yet, from self._at on
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
        while self._at < len(self._raw) and self._read():
            pass
        self._before = self._previous
        self._raw, self._at = self._raw[self._at :], 0
        return self._spoken.take()

    def finish(self) -> str:
        """The rest, once the text has ended."""
        self._final = True
        return self.feed("")

    @property
    def _previous(self) -> str:
        return self._raw[self._at - 1] if self._at else self._before

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.match(self._raw, self._at, self._at + LONGEST_URL)

    def _may_become(self, opening: re.Pattern[str]) -> bool:
        """Whether all that is left is the opening of something that more text could complete."""
        left = len(self._raw) - self._at
        return not self._final and left < LONGEST_URL and bool(opening.match(self._raw, self._at))

    # Each _read… reads one thing at self._at. False: what it is depends on text that has not come yet.

    def _read(self) -> bool:
        if self._fence:
            return self._read_fenced_line()
        return self._read_line_start() if self._line_start else self._read_token()

    def _read_fenced_line(self) -> bool:
        end = self._raw.find("\n", self._at) + 1 or len(self._raw)
        if self._raw[end - 1] != "\n" and not self._final:
            return False
        line = self._raw[self._at : end].strip()
        if len(line) >= 3 and line == len(line) * self._fence:
            self._fence = ""
        self._at = end
        return True

    def _read_line_start(self) -> bool:
        if self._may_become(_LINE_OPENING):
            return False
        found = self._match(_LINE_MARK)
        kind = found.lastgroup if found else None
        if found:
            self._at = found.end()
            self._fence = found["fence"][0] if found["fence"] else ""
        self._line_start = kind not in (None, "last")
        self._line_is_block |= kind in ("item", "last")
        if kind not in (None, "quotation"):
            self._spoken.end_sentence()
        return True

    def _read_token(self) -> bool:
        token = _TOKEN.match(self._raw, self._at)
        assert token, "the alternatives of _TOKEN cover every character"
        match token.lastgroup:
            case "word":
                return self._read_word(token)
            case "markup":
                return self._read_markup(token)
            case "run":
                return self._read_run(token)
            case "space":
                self._spoken.space()
            case "plain":
                self._spoken.put(token[0])
            case "newline":
                self._end_line()
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
        self._line_start, self._line_is_block, self._in_code = True, False, False

    def _read_word(self, word: re.Match[str]) -> bool:
        within_word = self._previous.isascii() and self._previous.isalnum()
        if word[0][0] in "hHwW" and not within_word:
            if self._may_become(_URL_OPENING):
                return False
            if url := self._match(_URL):
                address = url[0].rstrip(".,;:!?_~")
                if host := _spoken_host(address):
                    self._spoken.put(host)
                    self._spoken.drop()
                    self._at += len(address)
                    return True
        self._spoken.put(word[0])
        self._at = word.end()
        return True

    def _read_run(self, run: re.Match[str]) -> bool:
        """Stars, underscores, tildes or a backslash: the character after them decides."""
        if run.end() == len(self._raw) and not self._final:
            return False
        last, following = self._spoken.tail[-1:], self._raw[run.end() : run.end() + 1]
        if run[0] in ("*", "**") and self._spoken.ends_with_operand(before=following):
            self._spoken.space()
            self._spoken.put("times" if run[0] == "*" else "to the power of")
            self._spoken.space()
        elif following.isalnum() and (run[0] == "\\" or (run[0][0] == "_" and last.isalnum())):
            self._spoken.space()
        self._at = run.end()
        return True

    def _read_markup(self, mark: re.Match[str]) -> bool:
        """A link, image, HTML tag, address in angle brackets or entity; else the mark is literal."""
        in_word = mark[0][0] == "!" and not self._previous.isspace() and self._previous not in "(["
        if not in_word:
            if found := self._match(_MARKUP):
                return self._read_found(found)
            if self._may_become(_MARKUP_OPENING):
                return False
        self._spoken.put(mark[0][0])
        self._at += 1
        return True

    def _read_found(self, markup: re.Match[str]) -> bool:
        self._at = markup.end()
        kind = markup.lastgroup or ""
        if kind == "tag" and not self._in_code:
            if _BLOCK_TAG.fullmatch(markup[kind]):
                self._spoken.end_sentence()
            return True
        text = html.unescape(markup[0]) if kind == "entity" else markup[kind]
        if spoken := text if text == markup[0] else _speakable_inline(text):
            self._spoken.put(spoken)
        else:
            self._spoken.drop()
        return True


def _speakable_inline(text: str) -> str:
    """A complete text that stands within a line, made speakable."""
    inner = SpeakableText()
    inner._line_start = False
    return (inner.feed(text) + inner.finish()).strip()


class _Spoken:
    """What is spoken so far: one space between words, a full stop where a sentence ends without one."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.tail = ""  # its last characters, those taken too
        self._spaced = False  # white space came since
        self._dropped = False  # something unspeakable came since

    def take(self) -> str:
        text = "".join(self._parts)
        self._parts.clear()
        return text

    def put(self, text: str) -> None:
        if self._spaced or self._dropped:
            glued = self._dropped and text[0] in MARKS + CLOSING  # "so good 🎉!"
            if self.tail and self.tail[-1] != " " and not glued:
                self._append(" ")
            self._spaced = self._dropped = False
        self._append(text)

    def space(self) -> None:
        """After punctuation the space is certain; elsewhere a full stop may have to come before it."""
        if _ENDED.search(self.tail):
            self._append(" ")
        else:
            self._spaced = True

    def drop(self) -> None:
        self._dropped = True

    def end_sentence(self) -> None:
        if self.tail and self.tail[-1] != " ":
            stop = "。" if "\u3040" <= self.tail[-1] <= "\u9fff" else "."
            self._append(" " if _ENDED.search(self.tail) else f"{stop} ")
        self._spaced = self._dropped = False

    def ends_with_operand(self, *, before: str) -> bool:
        """Whether stars that come now, `before` this character, can be an operator and no emphasis."""
        last = self.tail[-1:]
        if self._spaced:
            return before.isspace() and (last.isalnum() or last == ")")
        return (last.isdigit() or last == ")") and (before.isalnum() or before == "(")

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self.tail = (self.tail + text)[-4:]


def _spoken_host(address: str) -> str:
    host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
    return " dot ".join(part for part in host.removeprefix("www.").split(".") if part)


# Patterns. An …_OPENING matches any text that more text could turn into the thing.

_BLANK = r"[^\S\n]"
_WORDLESS = rf"(?:[-*_=|:+>#—–]|{_BLANK})*"  # blank lines, rules, table rulings, underlines of titles
_LINE_MARK = re.compile(
    rf"(?P<wordless>{_WORDLESS}(?:\n|\Z))"
    rf"|{_BLANK}*(?:(?P<fence>(?:```+[^`\n]*|~~~+[^\n]*)(?:\n|\Z))|(?P<quotation>>)"
    rf"|(?P<item>[-*+]{_BLANK}|[•◦▪‣●])"  # in which other marks may follow
    rf"|(?P<last>#{{1,6}}{_BLANK}|\||(?=\d{{1,3}}[.)]{_BLANK})))"  # a heading, a table row, "1. "
)
_LINE_OPENING = re.compile(
    rf"(?:{_WORDLESS}|{_BLANK}*(?:`{{1,2}}|~{{1,2}}|```+[^`\n]*|~~~[^\n]*|\d{{1,3}}[.)]?))\Z"
)

_URL_PART = r"[A-Za-z0-9\-._~:/?#@!$&+,;=%]*"
_URL_REST = rf"{_URL_PART}(?:\({_URL_PART}\){_URL_PART})*"  # with brackets, as Wikipedia has them
_URL = re.compile(rf"(?:https?://|www\.){_URL_REST}", re.IGNORECASE)
_URL_OPENING = re.compile(
    rf"(?:h|ht|htt|https?|https?:/?|w|ww|www|(?:https?://|www\.){_URL_REST}(?:\({_URL_PART})?)\Z",
    re.IGNORECASE,
)

_LINK_TEXT = rf"[^\[\]\n]{{0,{LONGEST_HELD}}}"
_LINK_TARGET = r"(?:[^()\n]|\([^()\n]*\))*"
_MARKUP = re.compile(
    rf"!?\[(?P<link>{_LINK_TEXT})\]\({_LINK_TARGET}\)"
    rf"|<(?=[^<>\n]{{1,{LONGEST_HELD}}}>)(?:(?P<address>[A-Za-z][^\s<>]*(?:://|@)[^\s<>]*)"
    rf"|/?(?P<tag>[A-Za-z][\w:-]*)(?:{_BLANK}[^<>]*=[^<>]*)?{_BLANK}*/?)>"
    r"|&(?P<entity>#?\w{2,31});"
)
_MARKUP_OPENING = re.compile(
    rf"(?:!|!?\[{_LINK_TEXT}(?:\](?:\({_LINK_TARGET}(?:\([^()\n]*)?)?)?"
    rf"|</?(?:[A-Za-z][^<>\n]{{0,{LONGEST_HELD}}})?|&#?\w{{0,31}})\Z"
)
_BLOCK_TAG = re.compile(r"br|div|h[1-6r]|li|ol|p|table|td|th|tr|ul", re.IGNORECASE)

_ENDED = re.compile(rf"[{re.escape(MARKS)}—–-][{re.escape(CLOSING)}]*\Z")

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
    rf"|(?P<plain>[^\w\s*~`!\[<&|\\\u200c\u200d{_UNSEEN}{_UNSPEAKABLE}]+)"
    rf"|(?P<run>\*+|_+|~+|\\)|(?P<backtick>`)|(?P<markup>!?\[|[!<&])"
    rf"|(?P<joiner>[\u200c\u200d])|(?P<unseen>[{_UNSEEN}]+)|(?P<unspeakable>[{_UNSPEAKABLE}]+)"
)
