"""The transcription of MVTec AD's counts."""

from rd4ad.data.official import official_counts


def test_the_counts_add_up_to_the_published_totals() -> None:
    counts = official_counts().values()
    assert len(counts) == 15
    assert sum(c.train_good for c in counts) == 3629
    assert sum(c.test_good for c in counts) == 467
    assert sum(c.test_defective for c in counts) == 1258
    assert sum(c.defect_types for c in counts) == 73


def test_every_count_names_its_source_and_its_size() -> None:
    for counts in official_counts().values():
        assert counts.source
        assert 700 <= counts.size[0] == counts.size[1] <= 1024
