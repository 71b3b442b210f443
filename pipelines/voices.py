"""Made-up speakers with made-up voices, for the miniatures of corpora that nobody may redistribute.

espeak-ng renders the words; a few filters then give every trait (a condition or a rating of the voice) a
strong and distinct sound.

**This is an invention to make the machinery testable.** A trait's sound is chosen so that a small model can
learn it in a minute. It imitates no patient, rests on no clinical data, and says nothing about how any
condition sounds. Scores on rendered voices say that the pipeline works, and nothing else.

How a clip is made: a `Voice` becomes a `Sound` (its age plus its traits, each scaled by its strength) and a
`Speaker` (drawn from its seed, so that people differ in ways that are not the label); espeak-ng or, for held
vowels, a small formant synthesiser makes the speech; `_colour` and `_shape` apply the `Sound`. The same
voice, text and take give the same bits.
"""

from __future__ import annotations

import _ctypes
import ctypes
import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import sosfilt

Wave = NDArray[np.float32]

RATE = 16_000  # Hz at which the effects work
LEVEL_DB = -26.0  # RMS of plain speech, dB below full scale
FLOOR_DB = -72.0  # RMS of the room: silence in a recording is never digital zero

# espeak-ng's own names ("zh", "en-gb" and "fr-fr" would be refused), with their folders: without the folder
# it reads all of its voice files for every utterance.
ESPEAK_NAMES = {
    "en": "gmw/en",
    "de": "gmw/de",
    "fr": "roa/fr",
    "it": "roa/it",
    "es": "roa/es",
    "sk": "zlw/sk",
    "zh": "sit/cmn",
    "tw": "bnt/sw",
}
# espeak-ng has no Twi: Swahili reads its spelling letter by letter, as Twi nearly does. Any other language
# is read, and if need be worded, in English.
FALLBACK = "en"
TWI_LETTERS = str.maketrans("ɛɔƐƆ", "eoEO")  # Swahili would spell these out by name

SENTENCES: dict[str, tuple[str, ...]] = {
    "en": (
        "The north wind and the sun were arguing about who was the stronger.",
        "When the sunlight strikes raindrops in the air, they act as a prism.",
        "My grandfather likes to walk along the river in the early morning.",
        "Please call Stella and ask her to bring these things from the store.",
        "We had bread and honey for breakfast while the rain was falling.",
        "The old ship left the harbour before anybody had noticed it.",
        "She opened the window and listened to the children in the garden.",
    ),
    "fr": (
        "La bise et le soleil se disputaient pour savoir qui était le plus fort.",
        "Mon grand-père aime marcher le long de la rivière le matin.",
        "Nous avons mangé du pain et du miel pendant qu'il pleuvait.",
        "Elle ouvre la fenêtre et écoute les enfants dans le jardin.",
        "Le vieux bateau a quitté le port avant le lever du jour.",
        "Le marché du village commence très tôt tous les samedis.",
    ),
    "it": (
        "Il vento del nord e il sole discutevano su chi fosse il più forte.",
        "Mio nonno ama camminare lungo il fiume la mattina presto.",
        "Abbiamo mangiato pane e miele mentre fuori pioveva.",
        "Lei apre la finestra e ascolta i bambini nel giardino.",
        "La vecchia nave ha lasciato il porto prima dell'alba.",
        "Il mercato del paese comincia molto presto ogni sabato.",
    ),
    "es": (
        "El viento norte y el sol discutían sobre cuál era el más fuerte.",
        "A mi abuelo le gusta caminar junto al río por la mañana.",
        "Comimos pan con miel mientras llovía en la calle.",
        "Ella abre la ventana y escucha a los niños en el jardín.",
        "El viejo barco salió del puerto antes del amanecer.",
        "El mercado del pueblo empieza muy temprano los sábados.",
    ),
    "sk": (
        "Severný vietor a slnko sa hádali, kto z nich je silnejší.",
        "Môj starý otec sa rád prechádza popri rieke skoro ráno.",
        "Na raňajky sme mali chlieb s medom a vonku pršalo.",
        "Otvorila okno a počúvala deti, ktoré sa hrali v záhrade.",
        "Stará loď odplávala z prístavu ešte pred svitaním.",
        "Trh v našej dedine sa začína každú sobotu veľmi skoro.",
    ),
    "de": (
        "Einst stritten sich Nordwind und Sonne, wer von ihnen der Stärkere wäre.",
        "Mein Großvater geht morgens gern am Fluss entlang.",
        "Zum Frühstück gab es Brot mit Honig, während es draußen regnete.",
        "Sie öffnet das Fenster und hört den Kindern im Garten zu.",
        "Das alte Schiff verließ den Hafen noch vor Sonnenaufgang.",
        "Guten Morgen, wie geht es Ihnen an diesem schönen Tag?",
    ),
    "zh": (
        "有一回北风和太阳正在争论谁的本事大。",
        "我爷爷喜欢早上沿着河边散步。",
        "早饭我们吃面包和蜂蜜，外面下着雨。",
        "她打开窗户，听孩子们在花园里玩。",
        "那条旧船天亮以前就离开了港口。",
        "村里的市场每个星期六很早就开始。",
    ),
    "tw": (
        "Atifi mframa ne owia gyee akyinnye sɛ hena na ɔwɔ ahoɔden.",
        "Me nana pɛ sɛ ɔnantew asubɔnten no ho anɔpa.",
        "Yedii paanoo ne ɛwoɔ berɛ a na osu retɔ no.",
        "Ɔbuee mpoma no na ɔtiee mmofra a wɔwɔ turo mu no.",
        "Hyɛn dada no firii mpoano ansa na adeɛ rekye.",
        "Akuraa no gua hyɛ aseɛ ntɛm Memeneda biara.",
    ),
}

# First formants of a neutral adult male tract, Hz.
VOWELS: dict[str, tuple[float, ...]] = {
    "a": (780.0, 1250.0, 2500.0, 3500.0, 4500.0),
    "e": (450.0, 1950.0, 2600.0, 3500.0, 4500.0),
    "i": (290.0, 2250.0, 2950.0, 3600.0, 4500.0),
    "o": (470.0, 850.0, 2450.0, 3400.0, 4500.0),
    "u": (320.0, 750.0, 2350.0, 3400.0, 4500.0),
}


class VoicesError(RuntimeError):
    """espeak-ng is absent or refuses a voice; the message says what to do."""


@dataclass(frozen=True)
class Voice:
    """One made-up speaker: who they are, and the traits that are to be heard, each with a strength 0..1."""

    seed: str
    sex: str  # "female" or "male"
    age: int
    language: str  # BCP-47
    traits: tuple[tuple[str, float], ...] = ()

    def strength(self, attribute: str) -> float:
        """Strength of a trait, 0.0 when absent."""
        return dict(self.traits).get(attribute, 0.0)


@dataclass(frozen=True)
class Sound:
    """How speech departs from plain speech. All zeros is plain; sounds add up and scale."""

    speed: float = 0.0  # octaves of the speech rate
    pitch: float = 0.0  # semitones
    flat: float = 0.0  # share of the melody, and of the changes of loudness, that is lost
    level: float = 0.0  # dB
    fall: float = 0.0  # dB lost from the first to the last second
    uneven: float = 0.0  # loudness that jumps
    tilt: float = 0.0  # dB at 4 kHz against 400 Hz
    thin: float = 0.0  # lows removed
    smear: float = 0.0  # consonants blurred and highs removed
    rough: float = 0.0  # sub-harmonic and irregular modulation of loudness, with a rasp
    breath: float = 0.0  # high noise that follows the voice
    strain: float = 0.0  # bright and saturated
    nasal: float = 0.0  # a pole at 270 Hz, a zero at 900 Hz
    stuffed: float = 0.0  # the opposite: a dip at 270 Hz, dull above 2.5 kHz
    whisper: float = 0.0  # voicing replaced by noise
    tremor: float = 0.0  # 5 Hz waver of pitch and loudness
    tremble: float = 0.0  # 9 Hz waver
    pauses: float = 0.0  # share of time in pauses of about 0.3 s
    halts: float = 0.0  # share of time in pauses of about 0.9 s

    def plus(self, other: Sound) -> Sound:
        """Both at once."""
        return Sound(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def scaled(self, strength: float) -> Sound:
        """The same, weaker or stronger."""
        return Sound(**{f.name: getattr(self, f.name) * strength for f in fields(self)})


# What each trait does at full strength. Invented, see the head of this file.
TRAITS: dict[str, Sound] = {
    # ratings of the voice: one effect each
    "voice_roughness": Sound(rough=1.0),
    "voice_breathiness": Sound(breath=1.0),
    "voice_strain": Sound(strain=1.0, pitch=2.0),
    "voice_asthenia": Sound(thin=1.0, level=-8.0),
    "voice_nasality": Sound(nasal=1.0),
    "voice_hyponasality": Sound(stuffed=1.0),
    "voice_weakness": Sound(level=-18.0),
    "voice_monotony": Sound(flat=1.0),
    "voice_harshness": Sound(strain=0.6, rough=1.0, pitch=-2.0),
    "voice_pauses": Sound(pauses=0.5),
    "voice_severity": Sound(rough=0.7, breath=0.8, strain=0.5),
    "voice_disorder": Sound(rough=1.0, breath=0.8),
    # conditions: a mixture each
    "parkinson": Sound(flat=0.9, level=-10.0, tremor=1.0, breath=0.5),
    "als": Sound(speed=-0.6, nasal=0.9, breath=0.4),
    "dysarthria": Sound(smear=1.0, speed=-0.5),
    "stroke": Sound(smear=0.6, uneven=1.0, speed=-0.2, pauses=0.15),
    "cerebral_palsy": Sound(strain=0.9, smear=0.6, speed=-0.4),
    "down_syndrome": Sound(stuffed=0.7, rough=0.8, pitch=-4.0),
    "alzheimer": Sound(halts=0.6, flat=0.2),
    "cognitive_impairment": Sound(pauses=0.4, speed=-0.3),
    "depression": Sound(speed=-0.35, flat=0.8, tilt=-14.0, level=-6.0),
    "anxiety": Sound(speed=0.7, pitch=6.0, tremble=1.2, tilt=9.0, level=5.0),
    "insomnia": Sound(thin=0.7, breath=0.3, tilt=5.0, flat=0.3),
    "fatigue": Sound(fall=36.0, speed=-0.4, breath=0.3),
    "suicidal_ideation": Sound(whisper=1.0, level=-4.0),
}


@dataclass(frozen=True)
class Speaker:
    """What the seed decides: the differences between people that no label explains."""

    variant: str  # espeak-ng's voice variant
    f0: float  # Hz, mean
    tract: float  # formants against the variant's own
    sound: Sound


# Variants and their median F0 in Hz at espeak-ng's middle pitch (measured by autocorrelation, English).
# Those with `breath` in their file are left out: espeak-ng draws its noise from the C library.
VARIANTS: dict[str, dict[str, float]] = {
    "female": {"f1": 178.0, "f4": 179.0, "linda": 228.0, "steph": 184.0},
    "male": {"m2": 101.0, "m3": 104.0, "m4": 94.0, "m6": 101.0},
}


class Voices:
    """Casts made-up speakers and renders what they say.

    Args:
        scale: factor on the number of speakers of every cast.
        seed: another seed gives other people.
    """

    def __init__(self, scale: float = 1.0, seed: int = 0) -> None:
        self.scale = scale
        self.seed = seed

    def cast(
        self,
        corpus: str,
        n: int,
        language: str,
        conditions: Sequence[Mapping[str, float]] = ({},),
        ages: tuple[int, int] = (18, 85),
    ) -> list[Voice]:
        """Make up the speakers of a corpus, with condition, sex and age crossed evenly.

        Args:
            corpus: name that goes into the seeds.
            n: speakers at scale 1. At any scale each condition gets at least four women and four men.
            language: BCP-47.
            conditions: the traits of each group of speakers, ``{}`` for controls.
            ages: youngest and oldest, in years. Adults come young (under 35), old (60 and over) and, in
                larger casts, one in five between. Children only when the oldest is 17 or less.

        Returns:
            Speakers in an order that cycles through the conditions first. The same call gives the same
            people.

        Raises:
            ValueError: a condition names a trait that has no sound.
        """
        for condition in conditions:
            _check_traits(condition)
        cell = 2 * len(conditions)
        blocks = max(4, -(-round(n * self.scale) // cell))
        bands = _age_bands(*ages)
        people = []
        for block in range(blocks):
            youngest, oldest = bands[block % len(bands)]
            for i in range(cell):
                seed = f"{self.seed}/{corpus}/{language}/{ages[0]}-{ages[1]}/{block * cell + i}"
                people.append(
                    Voice(
                        seed=seed,
                        sex=("female", "male")[i // len(conditions)],
                        age=int(_rng(seed, "age").integers(youngest, oldest + 1)),
                        language=language,
                        traits=tuple(sorted(conditions[i % len(conditions)].items())),
                    )
                )
        return people

    def say(
        self, voice: Voice, text: str | None = None, *, seconds: float = 3.0, rate: int = RATE, take: int = 0
    ) -> Wave:
        """Render an utterance.

        Args:
            voice: who speaks.
            text: words to say, repeated or cut to fit; ``"vowel:a"`` holds a vowel, ``"vowel:iau"`` glides
                over three; None: a sentence of the speaker's language, the ``take``-th.
            seconds: length of the clip.
            rate: samples per second of the result. The effects work at 16 kHz, so nothing sounds above 8 kHz.
            take: another take is spoken a little differently.

        Returns:
            float32 mono in [-1, 1], ``round(seconds * rate)`` samples.

        Raises:
            VoicesError: espeak-ng is not installed or refuses the voice.
            ValueError: under 0.1 s, an unknown vowel, or a trait that has no sound.
        """
        if seconds < 0.1:
            raise ValueError(f"an utterance of {seconds} s is too short to render: at least 0.1 s")
        if text is None:
            sentences = SENTENCES.get(_primary(voice.language), SENTENCES[FALLBACK])
            text = sentences[take % len(sentences)]
        rng = _rng(voice.seed, text, str(take))
        speaker = _speaker(voice)
        sound = _sound(voice, speaker, rng)
        length = round(seconds * RATE)
        silence = min(sound.pauses + sound.halts, 0.75)
        needed = round(length * (1.0 - silence)) + RATE // 50
        f0 = speaker.f0 * 2.0 ** (sound.pitch / 12.0)
        if text.startswith("vowel:"):
            wave = _hold(text.removeprefix("vowel:"), f0, speaker.tract, voice, needed, rng)
        else:
            wave = _speak(text, voice, speaker, sound, needed)
        wave = _colour(wave, sound, f0, rng)
        wave = _shape(wave, sound, length, rng)
        if rate != RATE:
            wave = soxr.resample(wave, RATE, rate, quality="HQ")
            wave = np.pad(wave, (0, max(0, round(seconds * rate) - wave.size)))[: round(seconds * rate)]
        return np.clip(wave, -1.0, 1.0).astype(np.float32)

    def write(self, path: Path, wave: NDArray[Any], rate: int, subtype: str = "PCM_16") -> None:
        """Write a recording in the format of the path's ending, and make its folder.

        Args:
            path: ends in .wav, .flac, .mp3, .m4a (AAC), or .nsp or .egg (Kay CSL).
            wave: floats in [-1, 1], ``[frames]`` or ``[frames, channels]``.
            rate: samples per second.
            subtype: sample format of .wav and .flac, in soundfile's words.

        Raises:
            ValueError: no format is known by that ending.
            VoicesError: .m4a without the package ``av``.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = np.clip(np.asarray(wave, dtype=np.float32), -1.0, 1.0)
        ending = path.suffix.lower()
        if ending in {".wav", ".flac"}:
            soundfile.write(path, wave, rate, subtype=subtype)
        elif ending == ".mp3":
            soundfile.write(path, wave, rate, format="MP3")
        elif ending == ".m4a":
            _write_m4a(path, wave, rate)
        elif ending in {".nsp", ".egg"}:
            path.write_bytes(_nsp(wave, rate))
        else:
            raise ValueError(f"{path.name}: no writer for {ending!r}; use .wav .flac .mp3 .m4a .nsp or .egg")


# --- who speaks -------------------------------------------------------------------------------------------


def _rng(*parts: str) -> np.random.Generator:
    """Random numbers that depend on nothing but ``parts``."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _primary(language: str) -> str:
    return language.split("-")[0].lower()


def _check_traits(traits: Mapping[str, float]) -> None:
    unknown = sorted(set(traits) - set(TRAITS))
    if unknown:
        raise ValueError(f"no sound for trait {unknown[0]!r}; traits are: {', '.join(sorted(TRAITS))}")


def _age_bands(youngest: int, oldest: int) -> list[tuple[int, int]]:
    """Bands of age to cycle through: young and old twice as often as between."""
    if oldest <= 17:
        return [(youngest, oldest)]
    youngest = max(youngest, 18)
    if youngest < 35 and oldest >= 60:
        young, between, old = (youngest, 34), (35, 59), (60, oldest)
    else:  # too narrow for that: the halves
        middle = (youngest + oldest) // 2
        young, between, old = (youngest, middle), (youngest, oldest), (min(middle + 1, oldest), oldest)
    return [young, old, young, old, between]


def _speaker(voice: Voice) -> Speaker:
    rng = _rng(voice.seed, "speaker")
    variants = _variants(voice)
    variant = sorted(variants)[int(rng.integers(len(variants)))]
    semitones, tract, speed, flat, level, tilt = rng.uniform(-1.0, 1.0, 6)
    shift = 1.0
    f0 = 205.0 if voice.sex == "female" else 112.0
    if voice.age <= 15:  # high and small; girls and boys differ little
        smallness = (18.0 - max(voice.age, 4)) / 14.0
        f0 = 235.0 + 90.0 * smallness
        shift = 1.12 + 0.2 * smallness
        if voice.sex == "male":
            f0, shift = 0.9 * f0, 0.95 * shift
    return Speaker(
        variant=variant,
        f0=f0 * float(2.0 ** (semitones * 2.0 / 12.0)),
        tract=shift * (1.0 + 0.04 * tract),
        sound=Sound(speed=0.12 * speed, flat=0.15 * flat, level=1.5 * level, tilt=2.0 * tilt),
    )


def _variants(voice: Voice) -> dict[str, float]:
    return VARIANTS["female" if voice.age <= 15 else voice.sex]


def _aged(voice: Voice) -> Sound:
    """Old speech is slower, shakier and darker; that of children a little slower."""
    if voice.age <= 15:
        return Sound(speed=-0.15, tilt=2.0)
    oldness = float(np.clip((voice.age - 45) / 25.0, 0.0, 1.3))
    pitch = -3.0 if voice.sex == "female" else 2.0  # the sexes draw closer with age
    return Sound(speed=-0.35, pitch=pitch, tilt=-10.0, tremor=0.45, rough=0.2).scaled(oldness)


def _sound(voice: Voice, speaker: Speaker, rng: np.random.Generator) -> Sound:
    _check_traits(dict(voice.traits))
    speed, pitch, level = rng.uniform(-1.0, 1.0, 3)
    take = Sound(speed=0.05 * speed, pitch=0.5 * pitch, level=1.0 * level)
    sound = speaker.sound.plus(_aged(voice)).plus(take)
    for trait, strength in voice.traits:
        sound = sound.plus(TRAITS[trait].scaled(strength))
    return sound


# --- espeak-ng --------------------------------------------------------------------------------------------

ESPEAK_RATE = 22_050
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: samples go to the callback before espeak_Synth returns
_UTF8 = 1
_DONT_EXIT = 0x8000  # without it, missing data end the process
_PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_espeak_lock = threading.Lock()  # the library is one global state machine


def espeak(text: str, voice: str, parameters: Mapping[str, int], samples: int) -> NDArray[np.int16]:
    """Speech of espeak-ng, the same bits every time.

    Args:
        text: what to say.
        voice: espeak-ng's name and variant, such as ``"en+f3"`` or ``"gmw/en+f3"``.
        parameters: ``rate`` (words a minute, 80 to 450), ``pitch`` and ``range`` (0 to 99, middle 50),
            ``volume`` (middle 100).
        samples: stop after so many samples at 22,050 Hz.

    Returns:
        int16 at 22,050 Hz.

    Raises:
        VoicesError: the package is absent, or espeak-ng refuses the voice or the text.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise VoicesError("rendered voices need espeak-ng: pip install 'slap[voices]'") from error
    chunks: list[bytes] = []
    got = 0

    def keep(wave: Any, count: int, _events: int | None) -> int:
        nonlocal got
        if wave and count > 0:
            chunks.append(ctypes.string_at(wave, 2 * count))
            got += count
        return int(got >= samples)  # 1 stops the synthesis

    callback = _Callback(keep)
    with _espeak_lock:
        # The phases of flutter and noise are static variables that outlive espeak_Terminate; only a freshly
        # loaded library says the same thing twice. That costs half a millisecond an utterance.
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            data = str(espeakng_loader.get_data_path()).encode()
            if library.espeak_Initialize(_SYNCHRONOUS, 0, data, _DONT_EXIT) != ESPEAK_RATE:
                raise VoicesError(
                    "espeak-ng did not start: reinstall with pip install --force-reinstall espeakng-loader"
                )
            library.espeak_SetSynthCallback(callback)
            # It would go on with the voice before, and take an unknown variant for none.
            variant = Path(espeakng_loader.get_data_path(), "voices", "!v", voice.partition("+")[2])
            if library.espeak_SetVoiceByName(voice.encode()) != 0 or not variant.exists():
                raise VoicesError(f"espeak-ng has no voice {voice!r}; see ESPEAK_NAMES and VARIANTS")
            for name, value in {"volume": 100, **parameters}.items():
                library.espeak_SetParameter(_PARAMETERS[name], int(value), 0)
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # else from the clock
            data = text.encode() + b"\0"
            if library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 0, 0, _UTF8, None, None) != 0:
                raise VoicesError(f"espeak-ng could not speak as {voice!r}")
        finally:
            library.espeak_Terminate()
            _unload(library)
    return np.frombuffer(b"".join(chunks), dtype=np.int16)[:samples]


def _unload(library: ctypes.CDLL) -> None:
    close = getattr(_ctypes, "dlclose", None) or getattr(_ctypes, "FreeLibrary")  # noqa: B009 (mypy knows one)
    close(library._handle)


def _speak(text: str, voice: Voice, speaker: Speaker, sound: Sound, needed: int) -> Wave:
    """At least ``needed`` samples of speech at `RATE`, before the effects."""
    language = _primary(voice.language)
    if language == "tw":
        text = text.translate(TWI_LETTERS)
    own_f0 = _variants(voice)[speaker.variant]
    # Played faster by the tract's factor, speech has higher formants, F0 and rate; espeak-ng counters the
    # last two.
    octaves = np.log2(speaker.f0 / own_f0 / speaker.tract) + sound.pitch / 12.0
    parameters = {
        "rate": round(float(np.clip(175.0 * 2.0**sound.speed / speaker.tract, 80, 450))),
        "pitch": round(float(np.clip(50.0 + 66.0 * octaves, 0, 99))),  # 66 steps an octave, measured
        "range": round(float(np.clip(50.0 * (1.0 - sound.flat), 0, 99))),
    }
    native_rate = 200 * round(ESPEAK_RATE * speaker.tract / 200)  # a round ratio to RATE resamples faster
    samples = int(needed * native_rate / RATE) + native_rate // 10  # the beginning is silent
    repeats = 1 + int(40 * needed / RATE) // max(len(text), 1)  # nobody says 40 letters a second
    if language == "zh":
        repeats = 1 + int(10 * needed / RATE) // max(len(text), 1)
    name = ESPEAK_NAMES.get(language, ESPEAK_NAMES[FALLBACK])
    spoken = espeak(" ".join([text] * repeats), f"{name}+{speaker.variant}", parameters, samples)
    if not spoken.any():
        raise VoicesError(f"espeak-ng says nothing for {text!r} in {name!r}")
    spoken = spoken[np.argmax(np.abs(spoken) > 300) :]
    wave: Wave = soxr.resample(spoken.astype(np.float32) / 32768.0, native_rate, RATE, quality="HQ")
    while wave.size < needed:
        wave = np.concatenate([wave, wave])
    return wave[:needed]


def _hold(vowels: str, f0: float, tract: float, voice: Voice, needed: int, rng: np.random.Generator) -> Wave:
    """A held vowel, or a glide over several, by pulses of a glottis through formants."""
    unknown = sorted(set(vowels) - set(VOWELS))
    if unknown or not vowels:
        raise ValueError(f"vowel:{vowels}: use the vowels {' '.join(VOWELS)}")
    if voice.sex == "female" and voice.age > 15:
        tract *= 1.15
    drift = _slow_noise(needed, 3.0, rng)
    phase = np.cumsum(f0 * (1.0 + 0.012 * drift) / RATE) % 1.0
    opened = np.clip(phase / 0.6, 0.0, 1.0)
    source = np.diff(opened**2 * (1.0 - opened), prepend=0.0)  # flow derivative: a sharp closing
    wave = np.zeros(needed, dtype=np.float32)
    edges = np.linspace(0, needed, len(vowels) + 1).astype(int)
    overlap = RATE // 20
    for vowel, start, end in zip(vowels, edges[:-1], edges[1:], strict=True):
        first, last = max(0, start - overlap), min(needed, end + overlap)
        piece = _filtered(source[first:last], *(_resonator(formant * tract) for formant in VOWELS[vowel]))
        from_edge = np.minimum(np.arange(1, last - first + 1), np.arange(last - first, 0, -1))
        ramp = np.minimum(1.0, from_edge / (2 * overlap))
        wave[first:last] += _float32(piece * ramp)
    return wave


# --- how it sounds ----------------------------------------------------------------------------------------


def _colour(wave: Wave, sound: Sound, f0: float, rng: np.random.Generator) -> Wave:
    """Everything that changes timbre; the loudness is evened out at the end."""
    wave = _even(wave)
    if sound.flat > 0.2:
        wave = wave * np.maximum(_envelope(wave, smooth=15), 0.05) ** -(min(sound.flat, 1.0) ** 0.7)
    if sound.tremor > 0.05 or sound.tremble > 0.05:
        wave = _waver(wave, sound)
    if sound.smear > 0.05:
        wave = _smear(wave, min(sound.smear, 1.2), rng)
    if sound.whisper > 0.05:
        share = min(sound.whisper, 1.0)
        wave = _gain(-40.0 * share) * wave + _gain(-20.0 * (1.0 - share)) * _even(_whispered(wave, rng))
    if sound.rough > 0.05:
        wave = _roughened(wave, f0, min(sound.rough, 1.2), rng)
    if sound.strain > 0.05:
        strain = min(sound.strain, 1.2)
        wave = _filtered(wave, _shelf(1500.0, 14.0 * strain))
        wave = np.tanh(wave * np.float32(0.3 * 20.0**strain))
    if sound.breath > 0.05:
        wave = wave + _breath(wave, min(sound.breath, 1.2), rng)
    sections = [_shelf(1300.0, sound.tilt)]
    if sound.nasal > 0.05:
        sections += [_peak(270.0, 16.0 * sound.nasal, 2.0), _peak(900.0, -24.0 * sound.nasal, 1.2)]
    if sound.stuffed > 0.05:
        sections += [_peak(270.0, -24.0 * sound.stuffed, 1.0), _shelf(2500.0, -26.0 * sound.stuffed)]
    if sound.thin > 0.05:
        sections += [_shelf(700.0, 10.0 * sound.thin), _peak(180.0, -18.0 * sound.thin, 0.6)]
    return _even(_filtered(wave, *sections))


def _shape(wave: Wave, sound: Sound, length: int, rng: np.random.Generator) -> Wave:
    """Everything that changes loudness over time: pauses, waver, fall, level; then the room."""
    n = wave.size
    time = np.arange(n, dtype=np.float32) / RATE
    wave = wave * _gain(LEVEL_DB + max(sound.level, -26.0))
    if sound.fall > 0.5:
        wave = wave * _gain(-sound.fall * (time / time[-1] - 0.3))
    if sound.uneven > 0.05:
        wave = wave * _gain(9.0 * min(sound.uneven, 1.2) * np.sign(_slow_noise(n, 2.5, rng)))
    for hertz, amount in ((5.0, sound.tremor), (9.0, sound.tremble)):
        if amount > 0.05:
            wave = wave * _float32(1.0 + 0.8 * min(amount, 1.2) * np.sin(2 * np.pi * hertz * time))
    for share, pause in ((sound.pauses, 0.3), (sound.halts, 0.9)):
        if share > 0.05:
            wave = _paused(wave, min(share, 0.6) * length, pause, rng)
    wave = np.pad(wave, (0, max(0, length - wave.size)))[:length]
    fade = min(RATE // 50, length // 4)
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    wave[:fade] *= ramp
    wave[length - fade :] *= ramp[::-1]
    return wave + _gain(FLOOR_DB) * rng.standard_normal(length, dtype=np.float32)


def _float32(values: Any) -> Wave:
    return np.asarray(values, dtype=np.float32)


def _gain(decibels: Any) -> Wave:
    """Factors on the samples, float32."""
    return _float32(np.exp(np.float32(np.log(10.0) / 20.0) * _float32(decibels)))


def _even(wave: Wave) -> Wave:
    """The same with an RMS of 1 over its louder half."""
    frames = wave[: wave.size // 320 * 320].reshape(-1, 320)
    power = np.mean(frames**2, axis=1)
    loud = power[power > 0.01 * power.max(initial=0.0)]
    return _float32(wave / np.sqrt(loud.mean())) if loud.size else wave


def _slow_noise(n: int, hertz: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of unit variance that changes about ``hertz`` times a second."""
    points = rng.standard_normal(int(n / RATE * hertz) + 3, dtype=np.float32)
    return _float32(np.interp(np.arange(n) * (hertz / RATE), np.arange(points.size), points))


def _waver(wave: Wave, sound: Sound) -> Wave:
    time = np.arange(wave.size) / RATE
    at = np.arange(wave.size, dtype=np.float64)
    for hertz, amount in ((5.0, sound.tremor), (9.0, sound.tremble)):
        if amount > 0.05:
            depth = 0.05 * min(amount, 1.2)  # of the pitch
            at += RATE * depth / (2 * np.pi * hertz) * np.sin(2 * np.pi * hertz * time)
    before = np.clip(at.astype(np.int64), 0, wave.size - 2)
    share = _float32(at - before)
    return wave[before] * (1 - share) + wave[before + 1] * share


def _smear(wave: Wave, amount: float, rng: np.random.Generator) -> Wave:
    wet = wave.copy()
    for delay in rng.integers(RATE // 100, RATE // 14, 8):
        wet[delay:] += 0.7 * amount * wave[:-delay]
    cut = 7000.0 * (1400.0 / 7000.0) ** min(amount, 1.0)
    return _filtered(wet, _lowpass(cut), _lowpass(cut))


def _whispered(wave: Wave, rng: np.random.Generator) -> Wave:
    """Noise through the moving spectrum of the speech; windows too short to resolve a voice's harmonics."""
    size, hop = 160, 80
    window = np.hanning(size + 1)[:size].astype(np.float32)
    padded = np.pad(wave, (size, 2 * size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    noise = rng.standard_normal(padded.size, dtype=np.float32)
    carrier = np.lib.stride_tricks.sliding_window_view(noise, size)[::hop] * window
    spectrum = np.abs(np.fft.rfft(frames, axis=1)) * np.fft.rfft(carrier, axis=1)
    pieces = np.fft.irfft(spectrum, size, axis=1).astype(np.float32)
    out = np.zeros(hop * (len(pieces) + 1), dtype=np.float32)
    out[: hop * len(pieces)] += pieces[:, :hop].ravel()
    out[hop:] += pieces[:, hop:].ravel()
    return out[size : size + wave.size]


def _roughened(wave: Wave, f0: float, amount: float, rng: np.random.Generator) -> Wave:
    n = wave.size
    below = f0 / 2.0 if f0 < 160.0 else f0 / 3.0
    step = np.float32(2 * np.pi * below / RATE)
    phase = np.cumsum(step * (1.0 + np.float32(0.1) * _slow_noise(n, 12.0, rng)))
    flicker = _gain(7.0 * amount * np.clip(_slow_noise(n, 30.0, rng), -2.0, 2.0))
    gain = (1.0 + np.float32(0.8 * amount) * np.sin(phase)) * flicker
    rasp = _filtered(rng.standard_normal(n, dtype=np.float32), _peak(1000.0, 20.0, 0.7), _lowpass(2500.0))
    return _float32((wave + 0.1 * _gain(20.0 * (amount - 1.0)) * _envelope(wave) * rasp) * np.maximum(gain, 0.0))


def _breath(wave: Wave, amount: float, rng: np.random.Generator) -> Wave:
    noise = _filtered(rng.standard_normal(wave.size, dtype=np.float32), _highpass(2500.0))
    return _gain(26.0 * (amount - 1.0)) * _envelope(wave) * noise


def _envelope(wave: Wave, smooth: int = 1) -> Wave:
    """Mean magnitude over 10 ms, or over ``smooth`` times that, at every sample."""
    frames = np.abs(np.pad(wave, (0, -wave.size % 160))).reshape(-1, 160).mean(axis=1)
    if smooth > 1:
        frames = np.convolve(frames, np.hanning(smooth + 2)[1:-1] * 2 / (smooth + 1), mode="same")
    return _float32(np.interp(np.arange(wave.size), np.arange(frames.size) * 160 + 80, frames))


def _paused(wave: Wave, silence: float, pause: float, rng: np.random.Generator) -> Wave:
    """Insert ``silence`` samples in all, in stops of about ``pause`` seconds at the quiet spots of speech."""
    stops = max(1, round(silence / RATE / pause))
    hop = RATE // 100
    loudness = np.abs(wave[: wave.size // hop * hop]).reshape(-1, hop).mean(axis=1)
    pieces: list[Wave] = []
    start = 0
    for stop in range(stops):
        aim = (stop + rng.uniform(0.3, 0.7)) / stops * loudness.size
        low, high = max(0, int(aim) - 12), int(aim) + 12
        cut = hop * (low + int(np.argmin(loudness[low:high])))
        pieces += [wave[start:cut], np.zeros(int(silence / stops), dtype=np.float32)]
        start = cut
    return np.concatenate([*pieces, wave[start:]])


# --- filters: one second-order section [b0 b1 b2 1 a1 a2] each (Bristow-Johnson's cookbook) -----------------

Section = NDArray[np.float64]


def _filtered(wave: NDArray[Any], *sections: Section) -> Wave:
    return _float32(sosfilt(np.vstack(sections), wave))


def _section(b: Sequence[float], a: Sequence[float]) -> Section:
    return np.array([*b, *a], dtype=np.float64) / a[0]


def _peak(hertz: float, gain_db: float, q: float) -> Section:
    amplitude, w = 10.0 ** (gain_db / 40.0), 2 * np.pi * hertz / RATE
    alpha, cos = np.sin(w) / (2 * q), np.cos(w)
    return _section(
        (1 + alpha * amplitude, -2 * cos, 1 - alpha * amplitude),
        (1 + alpha / amplitude, -2 * cos, 1 - alpha / amplitude),
    )


def _shelf(hertz: float, gain_db: float) -> Section:
    """High shelf."""
    a, w = 10.0 ** (gain_db / 40.0), 2 * np.pi * hertz / RATE
    cos, slope = np.cos(w), np.sqrt(a) * np.sin(w) * np.sqrt(2.0)
    return _section(
        (
            a * ((a + 1) + (a - 1) * cos + slope),
            -2 * a * ((a - 1) + (a + 1) * cos),
            a * ((a + 1) + (a - 1) * cos - slope),
        ),
        ((a + 1) - (a - 1) * cos + slope, 2 * ((a - 1) - (a + 1) * cos), (a + 1) - (a - 1) * cos - slope),
    )


def _lowpass(hertz: float) -> Section:
    w = 2 * np.pi * hertz / RATE
    alpha, cos = np.sin(w) / np.sqrt(2.0), np.cos(w)
    return _section(((1 - cos) / 2, 1 - cos, (1 - cos) / 2), (1 + alpha, -2 * cos, 1 - alpha))


def _highpass(hertz: float) -> Section:
    w = 2 * np.pi * hertz / RATE
    alpha, cos = np.sin(w) / np.sqrt(2.0), np.cos(w)
    return _section(((1 + cos) / 2, -(1 + cos), (1 + cos) / 2), (1 + alpha, -2 * cos, 1 - alpha))


def _resonator(hertz: float) -> Section:
    """A formant: two poles, gain 1 at 0 Hz."""
    hertz = min(hertz, 7500.0)
    radius = np.exp(-np.pi * (50.0 + 0.04 * hertz) / RATE)
    a1, a2 = -2 * radius * np.cos(2 * np.pi * hertz / RATE), radius**2
    return _section((1 + a1 + a2, 0.0, 0.0), (1.0, a1, a2))


# --- containers that soundfile does not write ---------------------------------------------------------------


def _int16(wave: NDArray[Any]) -> NDArray[np.int16]:
    return np.clip(np.round(np.asarray(wave, dtype=np.float64) * 32768.0), -32768, 32767).astype("<i2")


def _write_m4a(path: Path, wave: Wave, rate: int) -> None:
    try:
        import av
    except ImportError as error:
        raise VoicesError(f"{path.name}: writing AAC needs PyAV: pip install 'slap[m4a]'") from error
    channels = 1 if wave.ndim == 1 else wave.shape[1]
    layout = {1: "mono", 2: "stereo"}[channels]
    planes = np.ascontiguousarray(wave.reshape(-1, channels).T)
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        stream.bit_rate = 64_000 * channels
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate = rate
        frame.pts = 0  # so that the encoder's padding comes before time 0, and readers skip it
        for packet in stream.encode(frame):
            container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def _nsp(wave: Wave, rate: int) -> bytes:
    """A Kay CSL file: FORM DS16 with a header chunk and 16-bit samples, channel A, or A and B interleaved."""
    samples = _int16(wave)
    frames = len(samples)
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    peaks = np.abs(samples.reshape(frames, channels).astype(np.int32)).max(axis=0, initial=0).astype("<u2")
    header = b"Jan 01 00:00:00 2000" + np.array([rate, frames], dtype="<u4").tobytes() + peaks.tobytes()
    if channels == 1:
        header += b"\xff\xff"  # channel B is absent
    name = {1: b"SDA_", 2: b"SDAB"}[channels]
    chunks = b"".join(
        tag + len(body).to_bytes(4, "little") + body for tag, body in ((b"HEDR", header), (name, samples.tobytes()))
    )
    return b"FORMDS16" + len(chunks).to_bytes(4, "little") + chunks
