"""How long it takes to scan a corpus of a million files, and that memory stays flat.

    python -m tests.perf.scan_scale                      # VoxCeleb2 and Common Voice at 100,000 and 1,000,000 files

Makes trees of empty files in the owners' layout, then scans each in a process of its own, beside the floor: a bare
walk of the same tree. A million files need a million inodes in the temporary folder.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

HOME = Path(__file__).parents[2]


def voxceleb2(root: Path, files: int) -> None:
    """Speakers of 200 segments in 10 videos."""
    speakers = files // 200
    root.mkdir(parents=True)
    rows = (f"id{speaker:05d} ,n{speaker:06d} ,{'mf'[speaker % 2]} ,dev \n" for speaker in range(speakers))
    (root / "vox2_meta.csv").write_text("VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set\n" + "".join(rows))
    for speaker in range(speakers):
        for video in range(10):
            folder = root / "dev" / "aac" / f"id{speaker:05d}" / f"vid{video:08d}"
            folder.mkdir(parents=True)
            for segment in range(20):
                (folder / f"{segment:05d}.m4a").touch()


def common_voice(root: Path, files: int) -> None:
    """Contributors of 50 clips in one locale of one release."""
    locale = root / "cv-corpus-16.1-2023-12-06" / "en"
    (locale / "clips").mkdir(parents=True)
    ages, sexes = ("", "twenties", "fourties"), ("", "male", "female")
    with (locale / "validated.tsv").open("w") as table:
        table.write("client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tvariant\tlocale\tsegment\n")
        for clip in range(files):
            client, name = clip // 50, f"common_voice_en_{clip:08d}.mp3"
            table.write(f"{client:064x}\t{name}\tText\t2\t0\t{ages[client % 3]}\t{sexes[client % 3]}\t\t\ten\t\n")
            (locale / "clips" / name).touch()


TREES = {"voxceleb2": voxceleb2, "common_voice": common_voice}


def scan(corpus: str, root: str) -> None:
    """Scan a tree; print seconds, peak MiB and rows as JSON."""
    from pipelines.corpora._base import recipes

    recipe = recipes()[corpus]
    started = time.perf_counter()
    tables = recipe.scan(Path(root))
    took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([took, peak, tables.height("utterance"), tables.height("reject")]))


def walk(root: Path) -> float:
    """Seconds of a bare walk of the tree."""
    started = time.perf_counter()
    assert sum(len(names) for _, _, names in os.walk(root)) > 1
    return time.perf_counter() - started


@click.command()
@click.option("--files", default=1_000_000, show_default=True)
def main(files: int) -> None:
    """Measure and print."""
    for corpus, make in TREES.items():
        for size in (files // 10, files):
            with tempfile.TemporaryDirectory() as scratch:
                root = Path(scratch, corpus)
                make(root, size)
                code = f"from tests.perf.scan_scale import scan; scan({corpus!r}, {str(root)!r})"
                out = subprocess.run(
                    [sys.executable, "-c", code], cwd=HOME, check=True, capture_output=True, text=True
                ).stdout
                took, peak, utterances, rejects = json.loads(out)
                assert (utterances, rejects) == (size, 0), (utterances, rejects)
                print(
                    f"{corpus:14s} {size:>9,} files: {took:5.1f} s, peak {peak:4.0f} MiB; bare walk {walk(root):.1f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
