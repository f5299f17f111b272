def test_x() -> None:
    import vllm
