"""The prices that stories about money use, and strategies for prices and usages."""

from hypothesis import strategies as st

from gateway.core.types import LongContext, Price, Usage

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

TOKEN_PRICES = st.none() | st.integers(0, 10**11)
FACTORS = st.integers(1000, 10_000)
"""Of at least one: a surcharge never makes anything cheaper."""

PRICES = st.builds(
    Price,
    input=TOKEN_PRICES,
    cached_input=TOKEN_PRICES,
    output=TOKEN_PRICES,
    image_input=TOKEN_PRICES,
    image=st.none() | st.integers(0, 10**9),
    no_image=st.none() | st.integers(0, 10**9),
    table=st.just({}) | st.just(GPT_IMAGE_1.table),
    minimum=st.integers(0, 10**7),
    cache_write=TOKEN_PRICES,
    image_output=TOKEN_PRICES,
    audio_input=TOKEN_PRICES,
    audio_output=TOKEN_PRICES,
    call=st.none() | st.integers(0, 10**9),
    long=st.none() | st.builds(LongContext, st.integers(0, 200_000), st.integers(1, 5000), st.integers(1, 5000)),
    tiers=st.dictionaries(st.sampled_from(["flex", "fast", "priority", "ultrafast"]), st.integers(1, 10_000)),
    estimated=st.booleans(),
)
COUNTS = st.integers(0, 100_000)
USAGES = st.builds(
    Usage,
    COUNTS,
    COUNTS,
    COUNTS,
    image_input_tokens=COUNTS,
    cache_write_tokens=COUNTS,
    image_output_tokens=COUNTS,
    audio_input_tokens=COUNTS,
    audio_output_tokens=COUNTS,
    reasoning_tokens=COUNTS,
    calls=st.integers(0, 100),
    cache_write_hour_tokens=COUNTS,
    cache_write_12h_tokens=COUNTS,
)
TIERS = st.sampled_from([None, "auto", "default", "flex", "fast", "priority", "ultrafast", "warp"])
WILD = st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=3)
OPERATIONS = st.sampled_from(["chat", "images", "images_async", "task"])
