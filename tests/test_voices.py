from __future__ import annotations

import builtins
import hashlib
import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import audio
from pipelines.voices import RATE, SENTENCES, TRAITS, VARIANTS, Voice, Voices, VoicesError, Wave, espeak

pytest.importorskip("espeakng_loader")

VOICES = Voices()


def person(sex: str = "female", age: int = 28, seed: str = "a", language: str = "en", **traits: float) -> Voice:
    return Voice(seed, sex, age, language, tuple(traits.items()))


def frames(wave: Wave, size: int = 640, hop: int = 160) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]


def f0(wave: Wave) -> np.ndarray:
    """F0 in Hz of the voiced frames, by autocorrelation."""
    found = []
    for frame in frames(wave):
        frame = frame - frame.mean()
        if frame.std() < 0.3 * wave.std():
            continue
        lags = np.correlate(frame, frame, "full")[frame.size - 1 :]
        lags = lags / lags[0] * frame.size / (frame.size - np.arange(frame.size))
        low, high = RATE // 450, RATE // 60
        best = low + int(np.argmax(lags[low:high]))
        early = [k for k in range(low, best) if lags[k] > 0.93 * lags[best] and lags[k - 1] <= lags[k] >= lags[k + 1]]
        if lags[best] > 0.6:
            found.append(RATE / (early[0] if early else best))
    return np.array(found)


def spread(wave: Wave) -> float:
    """Spread of F0 in semitones, between the 10th and 90th of 100."""
    low, high = np.percentile(12 * np.log2(f0(wave)), [10, 90])
    return float(high - low)


def level(wave: Wave) -> float:
    return float(20 * np.log10(wave.std()))


def band(wave: Wave, low: float, high: float) -> float:
    """Power between two frequencies as a share of all, in dB."""
    power = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.fft.rfftfreq(wave.size, 1 / RATE)
    return float(10 * np.log10(power[(hertz >= low) & (hertz < high)].sum() / power.sum()))


def silence(wave: Wave) -> float:
    """Share of frames 30 dB under the loudest."""
    loudness = frames(wave).std(axis=1)
    return float(np.mean(loudness < loudness.max() / 31.6))


def flicker(wave: Wave) -> float:
    """How much loudness changes from one 10 ms frame to the next, in dB, over the louder frames."""
    loudness = 20 * np.log10(frames(wave, 160).std(axis=1))
    loud = loudness > loudness.max() - 20
    return float(np.abs(np.diff(loudness))[loud[1:] & loud[:-1]].mean())


def modulation(wave: Wave, hertz: float) -> float:
    """Share of the modulation of loudness, 2 to 20 Hz, that lies within 1 Hz of ``hertz``."""
    loudness = frames(wave, 320, 160).std(axis=1)
    power = np.abs(np.fft.rfft((loudness - loudness.mean()) * np.hanning(loudness.size))) ** 2
    rates = np.fft.rfftfreq(loudness.size, 0.01)
    return float(power[np.abs(rates - hertz) <= 1].sum() / power[(rates >= 2) & (rates <= 20)].sum())


def pair(text: str | None = None, strength: float = 0.85, **kwargs: Any) -> Any:
    """A function from a trait to (plain, with the trait) of the same speaker, text and take."""

    def render(trait: str) -> tuple[Wave, Wave]:
        plain, marked = person(**kwargs), person(**kwargs, **{trait: strength})
        return VOICES.say(plain, text), VOICES.say(marked, text)

    return render


# --- the same bits -------------------------------------------------------------------------------------------


def test_the_same_voice_text_and_take_give_the_same_bits_whatever_was_said_before() -> None:
    voice = person("male", 66, parkinson=0.6, voice_breathiness=0.4)
    first = VOICES.say(voice)
    for sex in ("female", "male"):
        VOICES.say(person(sex, language="de"), "vorher")
    assert np.array_equal(VOICES.say(voice), first)


def test_another_process_gives_the_same_bits() -> None:
    voice = person("female", 70, anxiety=0.6)
    code = (
        "import hashlib; from pipelines.voices import *;"
        f"print(hashlib.sha256(Voices().say({voice!r}).tobytes()).hexdigest())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert told == hashlib.sha256(VOICES.say(voice).tobytes()).hexdigest()


def test_takes_texts_and_seeds_differ() -> None:
    voice = person()
    waves = [VOICES.say(voice), VOICES.say(voice, take=1), VOICES.say(voice, "hello"), VOICES.say(person(seed="b"))]
    assert len({wave.tobytes() for wave in waves}) == 4


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "m4a", "nsp"])
def test_files_have_the_same_bytes_every_time(ending: str, tmp_path: Path) -> None:
    wave = VOICES.say(person(), seconds=0.5)
    for name in ("one", "two"):
        VOICES.write(tmp_path / f"{name}.{ending}", wave, RATE)
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


# --- espeak-ng -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["zh+f1", "en-gb+f1", "en+nobody"])
def test_a_voice_that_espeak_would_quietly_replace_is_an_error(name: str) -> None:
    with pytest.raises(VoicesError, match=name.replace("+", r"\+")):
        espeak("hello", name, {}, 1000)


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def absent(name: str, *args: Any) -> Any:
        if name == "espeakng_loader":
            raise ImportError(name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(VoicesError, match=r"pip install 'slap\[voices\]'"):
        VOICES.say(person())


def test_variants_have_the_f0_of_the_table() -> None:
    text = "My grandfather likes to walk along the river in the early morning."
    for variants in VARIANTS.values():
        for variant, hertz in variants.items():
            spoken = espeak(text, f"gmw/en+{variant}", {"rate": 175, "pitch": 50, "range": 50}, 22_050 * 3)
            heard = np.median(f0((spoken / 32768).astype(np.float32))) * 22_050 / RATE
            assert heard == pytest.approx(hertz, rel=0.08), variant


# --- what is said --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_every_language_speaks_its_own_sentences(language: str) -> None:
    assert len(set(SENTENCES[language])) >= 6
    waves = [VOICES.say(person(language=language), take=take, seconds=2.0) for take in range(6)]
    assert all(silence(wave) < 0.5 for wave in waves)
    assert len({wave.tobytes() for wave in waves}) == 6


def test_a_region_is_read_as_its_language_and_an_unknown_language_as_english() -> None:
    text = "Guten Morgen"
    german, austrian, klingon, english = (
        VOICES.say(person(language=language), text) for language in ("de", "de-AT", "tlh", "en")
    )
    assert np.array_equal(german, austrian)
    assert np.array_equal(klingon, english)
    assert not np.array_equal(german, english)


@pytest.mark.parametrize(("seconds", "rate"), [(3.0, 16_000), (0.25, 44_100), (1.0, 8_000), (7.5, 16_000)])
@pytest.mark.parametrize("text", [None, "yes", "pa ta ka", "vowel:a", "vowel:iau"])
def test_a_clip_is_as_long_as_asked_and_full_of_speech(text: str | None, seconds: float, rate: int) -> None:
    wave = VOICES.say(person(), text, seconds=seconds, rate=rate)
    assert wave.dtype == np.float32
    assert wave.shape == (round(seconds * rate),)
    assert np.abs(wave).max() <= 1.0
    parts = np.array_split(wave, max(1, round(seconds)))
    assert min(part.std() for part in parts) > 0.2 * wave.std()


def test_a_held_vowel_is_steady_and_at_the_speakers_pitch() -> None:
    held, spoken = VOICES.say(person(), "vowel:a"), VOICES.say(person())
    assert flicker(held) < 0.5 * flicker(spoken)
    assert np.median(f0(held)) == pytest.approx(np.median(f0(spoken)), rel=0.15)
    with pytest.raises(ValueError, match="a e i o u"):
        VOICES.say(person(), "vowel:x")


# --- who speaks ----------------------------------------------------------------------------------------------


def test_sex_is_heard_in_f0() -> None:
    women = [np.median(f0(VOICES.say(person("female", seed=str(i))))) for i in range(6)]
    men = [np.median(f0(VOICES.say(person("male", seed=str(i))))) for i in range(6)]
    assert min(women) > 1.3 * max(men)
    assert np.std(women) > 5 and np.std(men) > 3  # people differ within a sex


def test_children_are_higher_than_women_and_the_old_darker_and_shakier() -> None:
    def mean(age: int, measure: Any) -> float:
        return float(np.mean([measure(VOICES.say(person("female", age, str(i)))) for i in range(5)]))

    def pitch(wave: Wave) -> float:
        return float(np.median(f0(wave)))

    assert mean(8, pitch) > 1.15 * mean(25, pitch)
    assert mean(75, lambda wave: band(wave, 2000, 8000)) < mean(25, lambda wave: band(wave, 2000, 8000)) - 4
    assert mean(75, lambda wave: modulation(wave, 5)) > 1.3 * mean(25, lambda wave: modulation(wave, 5))


# --- what a trait changes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", ["a", "b", "c"])
@pytest.mark.parametrize("sex", ["female", "male"])
class TestTraits:
    def test_monotony_flattens_pitch(self, seed: str, sex: str) -> None:
        plain, marked = pair(seed=seed, sex=sex)("voice_monotony")
        assert spread(marked) < 0.5 * spread(plain)

    def test_weakness_lowers_the_level(self, seed: str, sex: str) -> None:
        plain, marked = pair(seed=seed, sex=sex)("voice_weakness")
        assert level(plain) - level(marked) == pytest.approx(0.85 * 18, abs=1.5)

    def test_pauses_and_halts_are_silent(self, seed: str, sex: str) -> None:
        for trait in ("voice_pauses", "alzheimer", "cognitive_impairment"):
            plain, marked = pair(seed=seed, sex=sex)(trait)
            assert silence(marked) > silence(plain) + 0.15, trait

    def test_breathiness_adds_high_noise(self, seed: str, sex: str) -> None:
        plain, marked = pair("vowel:a", seed=seed, sex=sex)("voice_breathiness")
        assert band(marked, 5000, 8000) > band(plain, 5000, 8000) + 10

    def test_nasality_raises_270_hz_and_takes_900_hz_away(self, seed: str, sex: str) -> None:
        plain, marked = pair(seed=seed, sex=sex)("voice_nasality")
        raised = band(marked, 220, 330) - band(plain, 220, 330)
        assert raised > 4
        assert band(marked, 800, 1000) - band(plain, 800, 1000) < raised - 15

    def test_hyponasality_does_the_opposite(self, seed: str, sex: str) -> None:
        plain, marked = pair(seed=seed, sex=sex)("voice_hyponasality")
        assert band(marked, 220, 330) < band(plain, 220, 330) - 6

    def test_roughness_makes_loudness_flicker(self, seed: str, sex: str) -> None:
        plain, marked = pair("vowel:a", seed=seed, sex=sex)("voice_roughness")
        assert flicker(marked) > 2 * flicker(plain)

    def test_strain_brightens(self, seed: str, sex: str) -> None:
        plain, marked = pair(seed=seed, sex=sex)("voice_strain")
        assert band(marked, 2000, 8000) > band(plain, 2000, 8000) + 5

    def test_dysarthria_loses_the_highs(self, seed: str, sex: str) -> None:
        plain, marked = pair(seed=seed, sex=sex)("dysarthria")
        assert band(marked, 3000, 8000) < band(plain, 3000, 8000) - 10

    def test_parkinson_and_anxiety_waver_at_their_own_rates(self, seed: str, sex: str) -> None:
        plain, parkinson = pair("vowel:a", seed=seed, sex=sex)("parkinson")
        _, anxiety = pair("vowel:a", seed=seed, sex=sex)("anxiety")
        assert modulation(parkinson, 5) > 0.5 > modulation(plain, 5)
        assert modulation(anxiety, 9) > 0.5 > modulation(plain, 9)

    def test_fatigue_falls(self, seed: str, sex: str) -> None:
        plain, marked = pair(seed=seed, sex=sex)("fatigue")
        drop = [level(wave[: RATE // 2 * 2]) - level(wave[-RATE // 2 * 2 :]) for wave in (plain, marked)]
        assert drop[1] > drop[0] + 8

    def test_suicidal_ideation_is_whispered(self, seed: str, sex: str) -> None:
        plain, marked = pair("vowel:a", seed=seed, sex=sex)("suicidal_ideation")
        assert f0(marked).size < 0.5 * f0(plain).size


def fingerprint(take: int = 0, **traits: float) -> np.ndarray:
    """Mean and spread over time of the levels in third-octave bands, of two speakers who say the same."""
    waves = [VOICES.say(person(seed=seed, **traits), "We are all alone now.", take=take) for seed in "ab"]
    power = np.concatenate([np.abs(np.fft.rfft(frames(wave) * np.hanning(640))) ** 2 for wave in waves])
    edges = np.unique(np.round(100 * 2 ** (np.arange(19) / 3) / (RATE / 640)).astype(int))
    levels = 10 * np.log10(np.add.reduceat(power, edges, axis=1) + 1e-4)
    return np.stack([levels.mean(0), levels.std(0)])


@pytest.mark.parametrize("trait", sorted(TRAITS))
def test_every_trait_changes_the_sound_far_more_than_another_take_does(trait: str) -> None:
    plain = fingerprint()
    by_take = np.abs(fingerprint(take=1) - plain).mean()
    assert np.abs(fingerprint(**{trait: 0.85}) - plain).mean() > 2.5 * by_take


def test_no_two_traits_sound_the_same() -> None:
    heard = {trait: fingerprint(**{trait: 0.85}) for trait in TRAITS}
    by_take = np.abs(fingerprint(take=1) - fingerprint()).mean()
    pausing = {"alzheimer", "cognitive_impairment", "voice_pauses"}  # differ in time, see below
    for one, other in itertools.combinations(sorted(TRAITS), 2):
        if not {one, other} <= pausing:
            assert np.abs(heard[one] - heard[other]).mean() > 1.5 * by_take, (one, other)


def longest_silence(wave: Wave) -> float:
    """Seconds."""
    loudness = frames(wave).std(axis=1)
    quiet = "".join("q" if frame < loudness.max() / 31.6 else " " for frame in loudness)
    return 0.01 * max(map(len, quiet.split()), default=0)


def test_halts_are_longer_than_pauses() -> None:
    halts = [longest_silence(VOICES.say(person(seed=seed, alzheimer=0.85))) for seed in "abcd"]
    pauses = [longest_silence(VOICES.say(person(seed=seed, voice_pauses=0.85))) for seed in "abcd"]
    assert min(halts) > 1.3 * max(pauses)


@pytest.mark.parametrize(
    ("trait", "measure"),
    [
        ("voice_weakness", lambda wave: -level(wave)),
        ("voice_breathiness", lambda wave: band(wave, 5000, 8000)),
        ("voice_strain", lambda wave: band(wave, 2000, 8000)),
        ("voice_nasality", lambda wave: -band(wave, 800, 1000)),
        ("voice_roughness", flicker),
        ("voice_monotony", lambda wave: -spread(wave)),
        ("voice_pauses", silence),
        ("dysarthria", lambda wave: -band(wave, 3000, 8000)),
    ],
)
def test_mild_moderate_and_severe_are_three_steps(trait: str, measure: Any) -> None:
    steps = [measure(VOICES.say(person(**{trait: strength}))) for strength in (0.0, 0.25, 0.5, 0.85)]
    assert steps == sorted(steps)
    assert len(set(steps)) == 4


def test_traits_compose() -> None:
    both = VOICES.say(person(voice_weakness=0.85, voice_pauses=0.85))
    plain = VOICES.say(person())
    assert level(both) < level(plain) - 14
    assert silence(both) > silence(plain) + 0.15


def test_all_traits_at_once_still_give_sound() -> None:
    wave = VOICES.say(person(**dict.fromkeys(TRAITS, 1.0)))
    assert np.isfinite(wave).all()
    assert wave.std() > 1e-4


def test_an_unknown_trait_is_an_error_where_it_is_named() -> None:
    with pytest.raises(ValueError, match="'parkinsons'"):
        VOICES.cast("x", 8, "en", [{"parkinsons": 0.5}])
    with pytest.raises(ValueError, match="'smoking'"):
        VOICES.say(person(smoking=0.5))


def test_every_trait_is_an_attribute_of_the_vocabulary() -> None:
    table = Path(__file__).parents[1] / "warehouse" / "vocabulary" / "attributes.csv"
    names = {line.split(",")[0] for line in table.read_text(encoding="utf-8").splitlines()}
    assert set(TRAITS) <= names


# --- casts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.01, 0.3, 1.0, 2.0])
def test_a_cast_crosses_condition_sex_and_age_evenly(scale: float) -> None:
    conditions = [{}, {"parkinson": 0.5}, {"parkinson": 0.85}]
    people = Voices(scale).cast("corpus", 48, "it", conditions)
    assert len(people) == max(24, 48 * scale)
    cells = Counter((voice.strength("parkinson"), voice.sex) for voice in people)
    assert len(cells) == 6
    assert min(cells.values()) == max(cells.values()) >= 4
    young = Counter((voice.strength("parkinson"), voice.sex) for voice in people if voice.age < 35)
    old = Counter((voice.strength("parkinson"), voice.sex) for voice in people if voice.age >= 60)
    assert len(set(young.values())) == len(set(old.values())) == 1  # the same number in each cell
    assert abs(max(young.values()) - max(old.values())) <= 1
    assert min(*young.values(), *old.values()) >= 2
    assert len({voice.seed for voice in people}) == len(people)


def test_a_cast_is_the_same_every_time_and_other_people_elsewhere() -> None:
    assert Voices().cast("a", 8, "en") == Voices().cast("a", 8, "en")
    others = [
        Voices().cast("b", 8, "en"),
        Voices(seed=1).cast("a", 8, "en"),
        Voices().cast("a", 8, "en", ages=(20, 40)),
    ]
    seeds = {voice.seed for voice in Voices().cast("a", 8, "en")}
    assert all(seeds.isdisjoint(voice.seed for voice in other) for other in others)


@pytest.mark.parametrize("ages", [(6, 15), (18, 85), (60, 85), (40, 80), (18, 30), (15, 80), (70, 70)])
def test_ages_stay_in_range_and_children_come_only_alone(ages: tuple[int, int]) -> None:
    people = Voices().cast("x", 40, "en", ages=ages)
    youngest = ages[0] if ages[1] <= 17 else max(18, ages[0])
    assert all(youngest <= voice.age <= ages[1] for voice in people)


# --- files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("ending", "likeness"),
    [("wav", 0.9999), ("flac", 0.9999), ("nsp", 0.9999), ("egg", 0.9999), ("mp3", 0.97), ("m4a", 0.97)],
)
def test_what_is_written_is_read_back(ending: str, likeness: float, channels: int, tmp_path: Path) -> None:
    rate = 44_100
    wave = VOICES.say(person(), seconds=1.0, rate=rate)
    other = VOICES.say(person("male"), seconds=1.0, rate=rate)
    path = tmp_path / "deep" / f"x.{ending}"
    VOICES.write(path, wave if channels == 1 else np.stack([wave, other], axis=1), rate)
    for channel, expected in enumerate([wave, other][:channels]):
        read, native = audio.decode(path, channel=channel)
        assert native == rate
        assert abs(read.size - rate) <= 0.03 * rate
        assert np.corrcoef(read[:44_000], expected[:44_000])[0, 1] > likeness


def test_an_unknown_ending_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.wma"):
        VOICES.write(tmp_path / "x.wma", np.zeros(100, np.float32), RATE)
