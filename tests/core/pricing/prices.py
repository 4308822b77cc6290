"""The prices that stories about money use, and strategies for prices and usages."""

from hypothesis import strategies as st

from gateway.core.types import Price, Usage

USD = 1_000_000_000
GPT_4O = Price(input=1_875_000_000, output=7_500_000_000)
BACKUP = Price(input=2_500_000_000, cached_input=1_250_000_000, output=10_000_000_000)
GPT_4O_IMAGE = Price(image=20_000_000, no_image=660_000)
FLUX = Price(image=15_000_000)
GPT_IMAGE_1 = Price(
    input=5 * USD,
    cached_input=1_250_000_000,
    image_input=10 * USD,
    output=40 * USD,
    table={
        "low": {"1024x1024": 11_000_000, "1536x1024": 16_000_000},
        "high": {"1024x1024": 167_000_000, "1536x1024": 250_000_000},
    },
)

PRICES = st.builds(
    Price,
    input=st.none() | st.integers(0, 10**11),
    cached_input=st.none() | st.integers(0, 10**11),
    output=st.none() | st.integers(0, 10**11),
    image_input=st.none() | st.integers(0, 10**11),
    image=st.none() | st.integers(0, 10**9),
    no_image=st.none() | st.integers(0, 10**9),
    table=st.just({}) | st.just(GPT_IMAGE_1.table),
    minimum=st.integers(0, 10**7),
)
COUNTS = st.integers(0, 100_000)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, image_input_tokens=COUNTS)
WILD = st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=3)
OPERATIONS = st.sampled_from(["chat", "images", "images_async", "task"])
