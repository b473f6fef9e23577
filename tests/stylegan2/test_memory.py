"""How many pictures are computed at once."""

from hypothesis import given
from hypothesis import strategies as st

from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.memory import images_at_once

CONFIGS = st.builds(
    lambda exponent, base: GeneratorConfig(resolution=2**exponent, channel_base=base),
    st.integers(3, 10),
    st.sampled_from([1024, 16384, 32768, 65536]),
)


@given(CONFIGS)
def test_more_numbers_are_fewer_pictures(config):
    whole, half = (
        images_at_once(config, resolution=r) for r in (None, max(4, config.resolution // 2))
    )
    assert 1 <= whole < half
    assert 1 <= images_at_once(config, gradient=True) <= whole


def test_configuration_f_at_1024_pixels():
    config = GeneratorConfig()
    assert images_at_once(config) == 4
    assert images_at_once(config, gradient=True) == 1
