"""English as it is written, and as it is read aloud."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.normalization import in_words

TABLE = {
    # Numbers
    "I have 3 apples.": "I have three apples.",
    "It is -5 outside, or −12.": "It is minus five outside, or minus twelve.",
    "Pi is about 3.14159.": "Pi is about three point one four one five nine.",
    "Add .75 of it, not 0.5.": "Add zero point seven five of it, not zero point five.",
    "1,234,567 people": "one million two hundred thirty-four thousand five hundred sixty-seven people",
    "Agent 007": "Agent zero zero seven",
    "10,000 steps": "ten thousand steps",
    "Step 1. Do this.": "Step one. Do this.",
    "a 20-year-old car": "a twenty-year-old car",
    "12345678901234567890": "one two three four five six seven eight nine zero " * 2,
    "٣ and ５": "three and five",
    # Ordinals and fractions
    "He came 3rd, she was 21st.": "He came third, she was twenty-first.",
    "the 112th time": "the one hundred twelfth time",
    "Add 1/2 cup and 3/4 spoon.": "Add one half cup and three quarters spoon.",
    "Mix 3 1/2 cups and 2⅓.": "Mix three and one half cups and two and one third.",
    "½ an hour, 1½ days": "one half an hour, one and a half days",
    # Money
    "It costs $3.50.": "It costs three dollars and fifty cents.",
    "That is €1,200 in total.": "That is one thousand two hundred euros in total.",
    "US$ 5 or $ 5": "five dollars or five dollars",
    "£5, ¥100, $1 and $0.99": "five pounds, one hundred yen, one dollar and ninety-nine cents",
    "from $10-$20": "from ten dollars to twenty dollars",
    "$2.5 million": "two point five million dollars",
    "$5k, €3M and £2bn": "five thousand dollars, three million euros and two billion pounds",
    "US$5 or 5 USD": "five dollars or five dollars",
    "1,50 € at home": "one euro and fifty cents at home",
    "a loss of -$5": "a loss of minus five dollars",
    # Percentages and ranges
    "About 50 % of 12.5%.": "About fifty percent of twelve point five percent.",
    "Pages 10-20, 3–4 times": "Pages ten to twenty, three to four times",
    "40-50% of them": "forty to fifty percent of them",
    "<5 and >90% of them": "less than five and more than ninety percent of them",
    "2x faster, 3.5x": "two times faster, three point five times",
    "a 50/50 chance": "a fifty fifty chance",
    "It ended 3:1.": "It ended three to one.",
    "~10 minutes, ±2": "about ten minutes, plus or minus two",
    # Dates and years
    "on 2026-11-27": "on November twenty-seventh, twenty twenty-six",
    "on Nov 27 2026": "on November twenty-seventh, twenty twenty-six",
    "On Nov. 27, 2026, we met.": "On November twenty-seventh, twenty twenty-six, we met.",
    "on 27 November 2026": "on the twenty-seventh of November twenty twenty-six",
    "the 3rd of March 2024": "the third of March twenty twenty-four",
    "on 3/4/2026": "on March fourth, twenty twenty-six",
    "on 27/11/2026 or 27.11.2026": "on November twenty-seventh, twenty twenty-six"
    " or November twenty-seventh, twenty twenty-six",
    "on 11/27/98": "on November twenty-seventh, nineteen ninety-eight",
    "Jan. 5th and Dec 25": "January fifth and December twenty-fifth",
    "in May 2025": "in May twenty twenty-five",
    "In 1999 and 2026, since 2005": "In nineteen ninety-nine and twenty twenty-six, since two thousand five",
    "in 1990-1995": "in nineteen ninety to nineteen ninety-five",
    "the 1990s, the '80s and his 20s": "the nineteen nineties, the eighties and his twenties",
    # Times of day
    "At 10:45 am we meet.": "At ten forty-five a.m. we meet.",
    "5pm or 12:05 p.m.": "five p.m. or twelve oh five p.m.",
    "It is 3PM.": "It is three p.m.",
    "It opens at 9:00, closes at 17:30.": "It opens at nine o'clock, closes at seventeen thirty.",
    "9 a.m. – 5 p.m. daily": "nine a.m. to five p.m. daily",
    "9:00-17:30": "nine o'clock to seventeen thirty",
    "in 1:30:15": "in one thirty and fifteen seconds",
    # Units
    "It is 5 km away.": "It is five kilometers away.",
    "1 km, 1 hr, 2 hrs": "one kilometer, one hour, two hours",
    "It is 20 °C or -3.5°F.": "It is twenty degrees Celsius or minus three point five degrees Fahrenheit.",
    "60 mph and 100 km/h": "sixty miles per hour and one hundred kilometers per hour",
    "3 kg, 250 ml, 16 GB": "three kilograms, two hundred fifty milliliters, sixteen gigabytes",
    "30s later": "thirty seconds later",
    "100 m in 9.58 s": "one hundred meters in nine point five eight seconds",
    "30 m², 9.81 m/s²": "thirty square meters, nine point eight one meters per second squared",
    "He is 6'2\".": "He is six foot two.",
    "a 45° angle": "a forty-five degrees angle",
    # Arithmetic
    "2 + 2 = 4 and 5 - 3 = 2": "two plus two equals four and five minus three equals two",
    "6 x 7 and 2 × 2, 10 ÷ 5": "six times seven and two times two, ten divided by five",
    "3² is 9, 2^10 is more": "three squared is nine, two to the power of ten is more",
    # Telephone numbers and other names
    "Call 555-1234 now.": "Call five five five, one two three four now.",
    "Call +1 (555) 123-4567.": "Call plus one, five five five, one two three, four five six seven.",
    "+49 30 1234567": "plus four nine, three zero, one two three four five six seven",
    "0800 123456": "zero eight zero zero, one two three four five six",
    "(555) 123-4567": "five five five, one two three, four five six seven",
    "Call 911!": "Call nine one one!",
    "ISBN 978-3-16-148410-0": "ISBN nine seven eight, three, one six, one four eight four one zero, zero",
    "192.168.0.1": "one hundred ninety-two point one hundred sixty-eight point zero point one",
    "Version 2.0.1": "Version two point zero point one",
    "flight BA2490, B12, MP3, 3D": "flight BA two four nine zero, B twelve, MP three, three D",
    "a B-52, COVID-19": "a B fifty-two, COVID-nineteen",
    "CO2 and H2O": "C O two and H two O",
    # Abbreviations
    "Dr. Smith, Mr. Jones and Mrs. Brown": "Doctor Smith, Mister Jones and Missus Brown",
    "Prof. Lee, Sen. Gray, Capt. Cook": "Professor Lee, Senator Gray, Captain Cook",
    "fruit, e.g. apples, i.e. food": "fruit, for example apples, that is food",
    "Apples, pears, etc. They are good.": "Apples, pears, et cetera. They are good.",
    "cats vs. dogs": "cats versus dogs",
    "No. 5 of vol. 2": "number five of volume two",
    "#1, #2 and Nos. 3": "number one, number two and numbers three",
    "St. Paul lives on Main St. He is old.": "Saint Paul lives on Main Street. He is old.",
    "Main St. is long, to St. Paul": "Main Street is long, to Saint Paul",
    "24/7 in the U.S.": "twenty four seven in the U S.",
    "salt & pepper, Q&A": "salt and pepper, Q and A",
    "p. 12, c. 1800, v2.0": "page twelve, around one thousand eight hundred, version two point zero",
    # What stays
    "NASA met at 8 a.m. in Ph.D. robes": "NASA met at eight a.m. in Ph.D. robes",
    "Henry VIII, chapter IV": "Henry VIII, chapter IV",
    "Nothing to do here, is there?": "Nothing to do here, is there?",
    "[laugh] Well — yes!": "[laugh] Well, yes!",
}  # fmt: skip


@pytest.mark.parametrize(("written", "spoken"), TABLE.items())
def test_what_is_written_is_spoken_in_words(written: str, spoken: str) -> None:
    assert in_words(written) == spoken.strip()


_WRITTEN = st.text(
    st.sampled_from("0123456789 .,:;/-–+*$€£%°'\"()#^~=x×½²³\\`<>[]{}@abcStNoMayAPM\n٣５⅓①Ⅷ")
    | st.characters(),
    max_size=200,
)
_SNIPPETS = st.lists(
    st.sampled_from(
        [*TABLE, "$", "$$", "\\frac{1}{2}", "`1`", "http://x.y/1", "a@b.c1", "<b1>", "[1](2)", "\0"]
    ),
    max_size=8,
)


@given(_WRITTEN | _SNIPPETS.map("".join))
def test_any_text_becomes_words_without_digits_and_not_much_longer(text: str) -> None:
    spoken = in_words(text)
    assert not any(char.isdigit() for char in spoken)
    assert len(spoken) <= 26 * len(text) + 26  # "≤" is a text of 24, between spaces


@given(st.integers(10, 10**9))
def test_a_number_loses_none_of_its_digits(number: int) -> None:
    """Read by what reads numbers in transcripts, another library."""
    from text_to_num import alpha2digit

    assert alpha2digit(in_words(f"{number}"), "en") == str(number)


@given(st.text("abcdefghijklmnopqrstuvwxyz '!?", max_size=100))
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert in_words(text) == " ".join(text.split())
