import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rules_replies import answer


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("what is two plus two", "Two plus two is four."),
        ("What's 2+2?", "Two plus two is four."),
        ("what is seven minus nine", "Seven minus nine is minus two."),
        ("six times seven", "Six times seven is forty-two."),
        ("How much is 5 x 6?", "Five times six is thirty."),
        ("one hundred divided by four", "One hundred divided by four is twenty-five."),
        ("10 / 4", "Ten divided by four is two point five."),
        ("one divided by three", "One divided by three is about zero point three three."),
        ("2/3", "Two divided by three is about zero point six seven."),
        ("minus five plus three", "Minus five plus three is minus two."),
        ("five times minus two", "Five times minus two is minus ten."),
        ("1.5 plus zero point two five", "One point five plus zero point two five is one point seven five."),
        ("a hundred and five plus 1,000", "One hundred and five plus one thousand is one thousand one"),
        ("Three million times twenty-three", "Three million times twenty-three is sixty-nine million."),
        ("what is ten divided by zero", "Ten divided by zero has no answer: nothing can be divided by zero."),
        ("999999999999999 * 10", "Nine hundred and ninety-nine trillion nine hundred"),
    ],
)  # fmt: skip
def test_sums_of_two_numbers_are_worked_out_and_said_in_words(said: str, reply: str) -> None:
    assert answer(said).startswith(reply)


@given(
    st.integers(0, 10**12 - 1),
    st.integers(1, 10**9),
    st.sampled_from(["plus", "minus", "times", "divided by"]),
)
def test_any_two_numbers_in_words_are_reckoned_like_the_same_in_digits(
    one: int, other: int, operator: str
) -> None:
    answered = answer(f"{one} {operator} {other}")
    question = answered.split(" is ")[0]
    assert f" {operator} " in question
    assert answer(f"what is {question}") == answered


def test_numbers_too_large_to_say_are_called_so() -> None:
    assert answer("900000000000 times 900000000000").endswith("is a number too large to say.")
