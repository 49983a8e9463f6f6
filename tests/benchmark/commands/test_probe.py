from benchmark.commands.probe import judged_sets


def test_sets_to_judge_on_may_name_a_split():
    texts = ["fog=imagenet-c:/data/c@fog_3", "far=data/far", "odd=data/a@b/c", "both=data/a@b/c@val"]
    assert judged_sets(texts) == {
        "fog": ("imagenet-c:/data/c", "fog_3"),
        "far": ("data/far", None),
        "odd": ("data/a@b/c", None),
        "both": ("data/a@b/c", "val"),
    }
