"""The card is what Hugging Face accepts, and says what people must know."""

from collections import Counter

import pytest
import yaml
from huggingface_hub import DatasetCard

from renderer import card, licences
from renderer.card import About
from tests.needs import needs_bpy


def about(**changes) -> About:
    values = {
        "name": 'my "chairs": #1',
        "summary": "Chairs.",
        "licence_note": "Take care.",
        "credits": Counter({("CC-BY-3.0-US", "A | B"): 3, ("CC0-1.0 (generated)", "gr3d"): 2}),
        "citation": "@misc{x}",
        "resolution": 32,
        "format": "png",
        "sealed": {
            "val-000000.tar": {"samples": 150, "bytes": 1, "sha256": "0"},
            "train-000001.tar": {"samples": 350, "bytes": 1, "sha256": "0"},
            "train-000000.tar": {"samples": 1000, "bytes": 1, "sha256": "0"},
        },
        "quarantined": {},
    }
    return About(**{**values, **changes})


def test_front_matter_is_what_hugging_face_reads():
    data = DatasetCard(card.text(about())).data
    assert data.license == ["cc-by-3.0", "cc0-1.0"]
    assert data.pretty_name == 'gr3d my "chairs": #1'
    assert data.task_categories == ["image-feature-extraction"]
    assert data.size_categories == ["1K<n<10K"]
    splits = [(entry["split"], entry["path"]) for entry in data.configs[0]["data_files"]]
    assert splits == [("train", "train-*.tar"), ("val", "val-*.tar")]


def test_splits_are_counted_and_cells_cannot_break_the_table():
    text = card.text(about(quarantined={"a|b": "no faces\nat all"}))
    assert "| train | 1350 |" in text and "| val | 150 |" in text and "| probe" not in text
    assert "| CC-BY-3.0-US | A \\| B | 3 |" in text
    assert "| a\\|b | no faces at all |" in text


def test_a_long_quarantine_is_cut_short():
    text = card.text(about(quarantined={f"object-{i:02}": "broken" for i in range(30)}))
    assert "30 objects" in text and "10 more" in text and text.count("| broken |") == 20


@pytest.mark.parametrize(
    ("stated", "known", "page"),
    [
        ("", "unknown", "unknown"),
        ("CC0-1.0 (generated)", "cc0-1.0", "https://spdx.org/licenses/CC0-1.0.html"),
        ("CC-BY-3.0-US", "cc-by-3.0", "https://spdx.org/licenses/CC-BY-3.0-US.html"),
        ("Ask my uncle", "other", "Ask my uncle"),
    ],
)
def test_licences_as_others_spell_them(stated, known, page):
    assert licences.hugging_face(stated) == known
    assert licences.page(stated) == page


def test_an_unlisted_licence_gets_a_name():
    front = yaml.safe_load(card.front_matter(about(credits={("Ask my uncle", "U"): 1})))
    assert front["license"] == "other" and front["license_name"] == "see-objects-csv"


@pytest.mark.parametrize(
    ("count", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (2_623_600, "1M<n<10M")],
)
def test_size_categories(count, name):
    assert card.size_category(count) == name


@needs_bpy
def test_rendered_card_says_what_drew_it(rendered):
    text = (rendered / "README.md").read_text()
    assert DatasetCard(text).data.license == "cc0-1.0"
    assert "Blender 4.5" in text and "spp 16" in text and "seed 5" in text and "| yaw | -1.5708 | 1.5708 |" in text
    assert "@article{bordes2023guillotine" in text
