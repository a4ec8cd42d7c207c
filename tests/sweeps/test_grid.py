import pytest

from rd4ad.config import TrainingConfig
from rd4ad.sweeps.grid import Cell, GridError, read_grid


@pytest.fixture
def grid(tmp_path):
    def read(text: str):
        (tmp_path / "grid.yaml").write_text(text)
        return read_grid(tmp_path / "grid.yaml")

    return read


def test_lists_are_multiplied_in_the_files_order(grid):
    read = grid("dataset: parts\ncategory: [b, a]\nsize_px: [128, 256]\nlayers: [1+2+3, 3]")
    assert read.dataset == "parts"
    found = [(cell.category, cell.config.size_px, cell.config.layers) for cell in read.cells]
    assert found == [
        (category, size_px, layers)
        for category in ("b", "a")
        for size_px in (128, 256)
        for layers in ((1, 2, 3), (3,))
    ]


def test_a_study_trains_on_all_normal_images_unless_it_says_otherwise(grid):
    assert grid("category: a").cells == (Cell("a", TrainingConfig(holdout=0)),)
    assert grid("category: a\nholdout: 0.2").cells[0].config.holdout == 0.2


def test_a_key_that_a_method_does_not_have_gives_it_no_further_cells(grid):
    read = grid(
        "category: a\nmethod: [reverse_distillation, padim, riad]\n"
        "backbone: [resnet18, compact]\nepochs: [10, 20]"
    )
    found = [(cell.config.method, cell.config.backbone, cell.config.epochs) for cell in read.cells]
    assert found == [
        ("reverse_distillation", "resnet18", 10),
        ("reverse_distillation", "resnet18", 20),
        ("reverse_distillation", "compact", 10),
        ("reverse_distillation", "compact", 20),
        ("padim", "resnet18", 0),
        ("padim", "compact", 0),
        ("riad", "none", 10),
        ("riad", "none", 20),
    ]


def test_documents_are_grids_one_after_another(grid):
    read = grid("category: a\nseed: [0, 1]\n---\ncategory: [a, b]\nseed: 1\n")
    assert [(cell.category, cell.config.seed) for cell in read.cells] == [
        ("a", 0),
        ("a", 1),
        ("b", 1),
    ]
    with pytest.raises(GridError, match="the same dataset"):
        grid("category: a\ndataset: x\n---\ncategory: b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found none"),
        ("- a\n- b", "found none"),
        ("category: [", "is no YAML"),
        ("seed: 1", "`category` is missing"),
        ("category: []", "category has no value"),
        ("category: a\nseed:", "seed has no value"),
        ("category: a\nseed: [[1]]", "seed has no value"),
        ("category: a\nbakbone: resnet18", "unknown key 'bakbone'; did you mean 'backbone'"),
        ("category: a\nqqq: 1", "unknown key 'qqq'; there are category, method"),
        ("category: a\nbackbone: resnet81", "'resnet81' is unknown; did you mean 'resnet18'"),
        ("category: a\nmethod: [padin]", "'padin' is unknown; did you mean 'padim'"),
        ("category: a\nlayers: 4", "layers must be a choice of 1, 2 and 3"),
        ("category: a\nlayers: fine", "fine"),
        ("category: a\nsize_px: 100", "try 96"),
        ("category: a\nepochs: 0", "epochs must lie in"),
        ("category: a\nseed: first", "not supported between"),
    ],
)
def test_what_stands_for_nothing_is_refused_by_file_key_and_value(grid, text, message):
    with pytest.raises(GridError, match=message) as refused:
        grid(text)
    assert "grid.yaml" in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        read_grid(tmp_path / "none.yaml")
