import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.speakable import LONGEST_HELD, SpeakableText


def spoken(*deltas: str) -> str:
    text = SpeakableText()
    return "".join([text.feed(delta) for delta in deltas]) + text.finish()


@pytest.mark.parametrize(
    "prose",
    [
        "Hello there, how are you? Fine; thanks: really!",
        "\"Yes,\" she said — it's 'good' (very good)… isn't it?",
        "“Bonjour !” dit-il. «Où est le café ?» ¿Qué tal? Übergröße, naïve, Þór.",
        "今日はいい天気ですね。「そうですね！」と彼は言った。",
        "می‌خواهم بروم. क्षत्रिय ශ්‍රී ලංකා",
        "Dr. Smith paid $3.50, 20% less, at 10:30 a.m. on 1/2/2024; call +1 555-0100.",
        "It is 20 °C outside. C# and C++ are languages, you're #1, about 5 & more.",
        "3 < 4 and 5 > 4, x = y, if a<b and c>d.",
        "Mail me@example.com or see example.com.",
        "Ha! [laugh] That was [clear throat] good [1], a[0] too.",
        "R&D, AT&T & a &b; c.",
        "e\u0301 is e with an accent, ½ is a half, naïve™.",
    ],
)
def test_plain_prose_passes_unchanged(prose: str) -> None:
    assert spoken(prose) == prose


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("This is **bold**, *italic*, ***both***, __strong__ and _soft_.", None),
        ("This is ~~not~~ bold, it is ~5.", "This is not bold, it is 5."),
        ("un*frigging*believable", "unfriggingbelievable"),
        ("# A title\nText", "A title. Text"),
        ("### What now?\nText", "What now? Text"),
        ("A title\n=======\nText", "A title. Text"),
        ("> quoted\n> words\n\nText", "quoted words. Text"),
        ("Above\n\n---\n\nbelow\n* * *\nend", "Above. below. end"),
        ("Use `pip install` or ``make``.", "Use pip install or make."),
        ("Call `snake_case_name` and __init__ now.", "Call snake case name and init now."),
        ("Escaped \\*stars\\*, snake\\_case and 1\\. one", "Escaped stars, snake case and 1. one"),
        ("| Name | Age |\n|:-----|----:|\n| Ann | 31 |\n", "Name Age. Ann 31. "),
    ],
)
def test_markdown_marks_are_not_spoken(written: str, said: str | None) -> None:
    assert spoken(written) == (said or "This is bold, italic, both, strong and soft.")


@pytest.mark.parametrize("bullet", ["- ", "* ", "+ ", "• ", "  - "])
def test_list_items_are_sentences_without_their_bullets(bullet: str) -> None:
    assert spoken(f"Buy this:\n{bullet}Eggs\n{bullet}Milk\n") == "Buy this: Eggs. Milk. "


def test_numbers_of_a_list_are_spoken() -> None:
    assert spoken("Do this\n1. Wash\n2. Dry\n10) Rest") == "Do this. 1. Wash. 2. Dry. 10) Rest"


def test_a_dash_or_star_within_a_line_is_no_bullet() -> None:
    assert spoken("Well - yes\n-5 degrees") == "Well - yes -5 degrees"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("One\n\nTwo", "One. Two"),
        ("One.\n\nTwo", "One. Two"),
        ("One:\r\n \r\nTwo", "One: Two"),
        ("“One.”\n\nTwo", "“One.” Two"),
        ("好\n\n好", "好。 好"),
        ("नमस्ते।\n\nमैं", "नमस्ते। मैं"),
        ("كيف حالك؟\n\nجيد", "كيف حالك؟ جيد"),
        ("One\ntwo", "One two"),
        ("One!  \n two", "One! two"),
    ],
)
def test_a_paragraph_ends_a_sentence_and_a_line_does_not(written: str, said: str) -> None:
    assert spoken(written) == said


def test_white_space_is_one_space() -> None:
    assert spoken("  a \t b\u00a0\u3000c\u2028d   ") == "a b c d"


@pytest.mark.parametrize("fence", ["```", "~~~", "````"])
def test_fenced_code_is_not_spoken(fence: str) -> None:
    assert spoken(f"Look:\n{fence}python\nx = [1](2)\n\n# no\n{fence}\nDone.") == "Look: Done."


def test_code_that_is_cut_short_is_not_spoken() -> None:
    assert spoken("Look:\n```python\nx = 1") == "Look: "


def test_a_line_that_starts_with_inline_code_is_no_fence() -> None:
    assert spoken("```make``` runs it.") == "make runs it."


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("See [the docs](https://x.org/a_(b) 'Title').", "See the docs."),
        ("See ![a cat](cat.png) here", "See a cat here"),
        ("A **[bold link](u)**!", "A bold link!"),
        ("[https://x.org](https://x.org)", "x dot org"),
        ("Wow![a](b)", "Wow!a"),
        ("no ![](u), image", "no, image"),
        ("[open (and", "[open (and"),
        ("[text](open", "[text](open"),
    ],
)
def test_links_and_images_become_their_text(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("https://www.example.com/a?b", "example dot com"),
        ("See http://user:pw@sub.my-site.co.uk:8080/x_y/#z.", "See sub dot my-site dot co dot uk."),
        ("(www.Example.org, HTTPS://X.ORG/)", "(example dot org, x dot org)"),
        ("https://en.wikipedia.org/wiki/Foo_(bar), yes", "en dot wikipedia dot org, yes"),
        ("<https://x.org> or <me@x.org>", "x dot org or me@x.org"),
        ("**https://x.org**", "x dot org"),
        ("看https://x.org。好", "看x dot org。好"),
        ("https:// and www. and http", "https:// and www. and http"),
    ],
)
def test_urls_become_their_host(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("So good 🎉!", "So good!"),
        ("Hi👋🏽 there 👩‍👩‍👧‍👦, you ❤️.", "Hi there, you."),
        ("🇩🇪 and 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ☎️ ok", "and ok"),
        ("Press 1️⃣ or #️⃣", "Press 1 or #"),
        ("A → B ■ C ✓ • D", "A B C D"),
        (
            "nul\x00 bell\x07 esc\x1b[ soft\u00adhyphen \ufeffbom \u202ebidi",
            "nul bell esc[ softhyphen bom bidi",
        ),
        ("private \ue000, broken \ufffd and half \ud83d one", "private, broken and half one"),
    ],
)
def test_emoji_and_unspeakable_characters_are_dropped(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("<b>Bold</b> and un<i>believ</i>able", "Bold and unbelievable"),
        ('A <a href="https://x.org" class=y>link</a>', "A link"),
        ("One<br>two<br/>three", "One. two. three"),
        ("<ul><li>Eggs</li><li>Milk</li></ul>", "Eggs. Milk. "),
        ("The `<div>` tag", "The div tag"),
        ("I <3 you", "I <3 you"),
        ("a <b and then", "a <b and then"),
    ],
)
def test_html_tags_are_dropped_and_comparisons_stay(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("2 * 3 is 6", "2 times 3 is 6"),
        ("2*3 and 2*x", "2 times 3 and 2 times x"),
        ("(1 + 2) * (3 + 4)", "(1 + 2) times (3 + 4)"),
        ("x * y * z", "x times y times z"),
        ("5 \\* 3", "5 times 3"),
        ("2**8 or 2 ** 8", "2 to the power of 8 or 2 to the power of 8"),
        ("**2** and *3*", "2 and 3"),
        ("Note: * required", "Note: required"),
    ],
)
def test_products_and_powers_are_named(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Salt &amp; pepper&#33;", "Salt & pepper!"),
        ("It&rsquo;s 5&nbsp;km, 3 &lt; 4, &lt;b&gt;", "It’s 5 km, 3 < 4, <b>"),
        ("So good &#127881;!", "So good!"),
        ("Fish &chips; and &", "Fish &chips; and &"),
    ],
)
def test_entities_become_their_characters(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize("text", ["Hello there,", "Sure!", "Really?", "It works.", "One; two:", "word"])
def test_text_that_is_certain_is_not_held_back(text: str) -> None:
    assert SpeakableText().feed(text) == text


@pytest.mark.parametrize("text", ["Hello there. ", "Done!\n", "He said “no.” "])
def test_white_space_after_a_sentence_is_not_held_back(text: str) -> None:
    assert SpeakableText().feed(text) == text.rstrip() + " "


def test_the_end_of_a_list_item_is_not_held_back() -> None:
    assert SpeakableText().feed("- Eggs\n") == "Eggs. "


@pytest.mark.parametrize("opening", ["[", "![", "<b ", "<a x='", "# ", "- ", "1", "*", "_"])
def test_an_opening_mark_holds_text_back_for_a_bounded_length_only(opening: str) -> None:
    assert "word" in SpeakableText().feed("Text.\n" + opening + "word " * (LONGEST_HELD // 5 + 1))


@pytest.mark.parametrize("opening", ["[", "![", "<b ", "`"])
def test_an_opening_mark_is_literal_at_the_end_of_its_line(opening: str) -> None:
    assert "word" in SpeakableText().feed(f"Text. {opening}word\n")


_ATOMS = [
    "\n", "\n\n", " ", "  ", "\t", "\r\n", "- ", "* ", "+ ", "# ", "> ", "1. ", "12) ", "|", "---", "===",
    "```", "~~~", "`", "*", "**", "_", "__", "~", "~~", "[", "]", "(", ")", "![", "!", "<", ">", "</", "/",
    "=", '"', "'", "b", "br", "https://", "www.", "http:", "h", "w", "x.org", "/a", "?q=1", "@", "a@b.c",
    "\\", "\u200d", "\ufe0f", "\u20e3", "1", "2", "3.14", "hello", "é", "e\u0301", "你好", "。", "，", "👩‍👧",
    "🎉", "🇩🇪", "[laugh]", "[a](b)", "[x] ", ",", ".", "...", "…", ":", ";", "?", "می‌خ", "\x00", "—",
    "&", "&amp;", "&lt;", "#33;", "href=", "\ud83d", "•", "°C", "$5", "-" * 90, " " * 90, "a" * 90,
]  # fmt: skip

written_text = st.one_of(
    st.lists(st.sampled_from(_ATOMS), max_size=30).map("".join),
    st.text(max_size=60),
    st.text(alphabet=st.sampled_from("ab1 \n*_`[]()<>!#-|~\\.:/hw&;"), max_size=60),
)


@given(written_text, st.lists(st.integers(1, 12)))
@example("<b " + "x" * 300 + ">", [])
@example("https://x.org/" + "a" * 3000 + " b", [2000])
@example("[" + "a" * 300 + "](b)", [])
@example("2 *" + " " * 300 + "3", [])
@settings(max_examples=400)
def test_the_split_into_deltas_makes_no_difference(text: str, lengths: list[int]) -> None:
    whole = spoken(text)
    assert spoken(*text) == whole
    deltas, at = [], 0
    for length in lengths:
        deltas.append(text[at : at + length])
        at += length
    assert spoken(*deltas, text[at:]) == whole


@given(written_text)
@settings(max_examples=200)
def test_nothing_that_is_spoken_is_a_control_character_emoji_or_double_space(text: str) -> None:
    said = spoken(text)
    assert "  " not in said
    assert not re.search(r"[\n\t`|]", said)
    assert {unicodedata.category(char) for char in said}.isdisjoint({"Cc", "Cs", "Co"})
    assert not re.search("[\U0001f300-\U0001faff\ufe0f\u20e3]", said)
