"""Every page's logic, without a browser: what it shows, its empty states, what is broken."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from rd4ad.runs.index import SCHEMA, read_index, update_index, write_index
from rd4ad.web.explorer import index_cache
from rd4ad.web.explorer.units import PERCENT

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = ["app.py", *(f"pages/{p.name}" for p in sorted((REPOSITORY / "pages").glob("*.py")))]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_without_a_run(results, page, opened):
    opened(page)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_with_a_run(measured, page, opened):
    explorer = opened(page)
    assert not explorer.error
    assert explorer.title[0].value


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_the_repositorys_own_results(page, opened):
    explorer = opened(page)
    assert not [w.value for w in explorer.warning if "skipped" in w.value]


def test_the_leaderboard_opens_on_the_papers_table(results, opened):
    table = opened("pages/leaderboard.py").dataframe[0].value
    assert table.loc["Transistor", "○ RD4AD WR50 256"] == pytest.approx(0.925)
    assert table.loc["Total", "○ SPADE WR50 256"] == pytest.approx(0.9603, abs=5e-5)


def test_the_average_that_its_rows_do_not_give_is_named_with_both_numbers(results, opened):
    said = opened("pages/leaderboard.py").warning[0].value
    assert "SPADE WR50 256: the source states 96.5" in said
    assert "96.03" in said


def test_another_metric_shows_its_own_methods(results, opened):
    page = opened("pages/leaderboard.py")
    page.segmented_control("metric").set_value("pro").run()
    table = page.dataframe[0].value
    assert table.loc["Transistor", "○ MF 256"] == pytest.approx(0.926)
    assert "○ RIAD 256" not in table.columns


def test_sizes_and_sources_narrow_the_table(results, opened):
    page = opened("pages/leaderboard.py")
    page.multiselect("size").set_value(["128"]).run()
    assert set(page.dataframe[0].value.columns) == {"○ MKD 128", "○ RD4AD WR50 128"}
    page.button_group("by").set_value(["Third parties"]).run()
    assert any("No value matches" in info.value for info in page.info)


def test_two_columns_are_compared_with_wins_ties_and_losses(results, opened):
    page = opened("pages/leaderboard.py")
    page.selectbox("first").set_value("○ RD4AD WR50 256")
    page.selectbox("second").set_value("○ SPADE WR50 256").run()
    assert any("11 win, 0 tie, 4 loss over 15" in m.value for m in page.markdown)


def test_a_clicked_cell_shows_where_its_metric_comes_from(results, opened):
    page = opened("pages/leaderboard.py")
    page.query_params["at"] = "transistor|○ RD4AD WR50 256"
    page.run()
    card = page.dataframe[0].value.set_index("what")["is"]
    assert card["Metric"] == "92.5"
    assert "arXiv 2201.10703" in card["Source"]


def test_a_cell_of_a_run_shows_the_run_and_its_commands(measured, opened):
    page = opened("pages/leaderboard.py")
    page.selectbox("dataset").set_value("Generated parts").run()
    page.query_params["at"] = f"transistor|{page.dataframe[0].value.columns[0]}"
    page.run()
    card = page.dataframe[1].value.set_index("what")["is"]
    assert card["Seed"] == "0"
    assert "rd4ad train --data DIR --category transistor --backbone compact" in page.code[0].value


def test_fractions_are_printed_with_three_decimals(results, opened):
    page = opened("pages/leaderboard.py")
    page.segmented_control("units").set_value("fraction").run()
    page.query_params["at"] = "transistor|○ RD4AD WR50 256"
    page.run()
    assert page.dataframe[0].value.set_index("what")["is"]["Metric"] == "0.925"


def test_without_a_run_the_page_says_which_command_stores_one(results, opened):
    assert any("rd4ad evaluate" in code.value for code in opened("pages/ablations.py").code)


def test_a_run_that_is_not_in_the_index_yet_is_announced(results, part_results, opened):
    shutil.copytree(part_results / "runs", results / "runs")
    assert any("not listed yet: 1" in info.value for info in opened("pages/leaderboard.py").info)


def test_a_broken_run_is_reported_and_stops_nothing(results, part_results, opened):
    shutil.copytree(part_results / "runs", results / "runs")
    (results / "runs/rd-broken").mkdir()
    update_index(results)
    page = opened("pages/leaderboard.py")
    assert "rd-broken" in page.warning[0].value
    assert len(page.dataframe[0].value) == 19


def test_a_damaged_index_is_reported_with_the_command_that_mends_it(results, opened):
    (results / "index.parquet").write_bytes(b"PAR1")
    assert "rd4ad results index" in opened("pages/leaderboard.py").warning[0].value


def test_a_run_whose_files_are_gone_is_reported_where_it_is_opened(results, part_results, opened):
    shutil.copytree(part_results / "runs", results / "runs")
    update_index(results)
    (results / "runs" / read_index(results)["run_id"].iloc[0] / "run.json").unlink()
    assert any("cannot be read" in w.value for w in opened("pages/threshold.py").warning)


def test_the_threshold_moves_the_counts(measured, opened):
    page = opened("pages/threshold.py")
    page.slider("threshold").set_value(page.slider("threshold").max).run()
    counts = {metric.label: int(metric.value) for metric in page.metric}
    assert counts["Found"] == counts["False alarm"] == 0
    assert counts["Missed defect"] == 12
    assert counts["Passed"] == 4


def test_the_threshold_begins_at_the_runs_own(measured, opened):
    page = opened("pages/threshold.py")
    assert any("held-out normal images" in caption.value for caption in page.caption)


def test_the_laboratory_scores_again_what_is_asked(measured, opened):
    page = opened("pages/limitations.py")
    run = read_index(measured)
    page.button_group("layers").set_value([3]).run()
    page.slider("sigma").set_value(4.0).run()
    assert not page.exception
    shown = {metric.label: metric.value for metric in page.metric}
    stored = run.query("layers == '3' and fusion == 'sum' and smoothing == 4")["pixel_auroc"].item()
    assert shown["Pixel AUROC"] == f"{100 * stored:.1f}"


def test_the_mask_of_misplaced_parts_is_split_in_two(measured, opened):
    page = opened("pages/limitations.py")
    split = page.dataframe[-1].value
    assert list(split.columns) == ["whole mask", "where the part is", "where it should be"]
    assert list(split.index) == ["layers 1", "layers 2", "layers 3", "layers 1+2+3"]


def test_no_layer_chosen_is_an_instruction_and_no_error(measured, opened):
    page = opened("pages/limitations.py")
    page.button_group("layers").set_value([]).run()
    assert "Choose at least one layer" in page.info[0].value


def test_the_limitation_case_stands_beside_the_papers_four_metrics(results, opened):
    table = opened("pages/limitations.py").dataframe[0].value
    assert table["○ Paper, WR50"].tolist() == pytest.approx([0.925, 0.945, 0.973, 0.976])


def test_the_grid_is_that_of_the_stored_metrics(measured, opened):
    page = opened("pages/ablations.py")
    page.selectbox("across").set_value("fusion").run()
    grid = page.dataframe[0].value
    cell = read_index(measured).query("layers == '2+3' and fusion == 'product' and smoothing == 4")
    assert grid.loc["2+3", "product"].endswith(PERCENT.text(cell["pixel_auroc"].item()))


def test_a_click_on_a_cell_shows_the_runs_behind_it(measured, opened):
    page = opened("pages/ablations.py")
    page.query_params["cell0"] = "2+3|64"
    page.run()
    behind = page.dataframe[1].value
    run = read_index(measured, is_default=True)
    assert behind["Images"].tolist() == [f"threshold?run={run['run_id'].item()}"]


def test_a_third_setting_gives_a_table_each(measured, opened):
    page = opened("pages/ablations.py")
    page.selectbox("across").set_value("smoothing").run()
    page.selectbox("facet").set_value("fusion").run()
    heads = [heading.value for heading in page.subheader]
    assert [head for head in heads if "Fusion" in head] == [
        "Pixel AUROC, percent · Fusion: product", "Pixel AUROC, percent · Fusion: sum",
    ]  # fmt: skip


def test_settings_that_no_run_has_together_are_told_with_those_that_there_are(
    results, part_results, opened
):
    index = read_index(part_results)
    longer = index.assign(run_id="longer", epochs=index["epochs"] + 10, variant="bfloat16")
    write_index(results, pa.Table.from_pandas(pd.concat([index, longer]), SCHEMA))
    page = opened("pages/ablations.py")
    held = page.selectbox("hold_variant_layers_size_px")
    assert held.value == "bfloat16"
    (other,) = set(held.options) - {"mean over all", "bfloat16"}
    held.set_value(other).run()
    said = page.info[0].value
    assert "No run combines these settings" in said
    assert said.count("compact, 64 px") == 2
    page.selectbox("across").set_value("epochs").run()  # what was held is held again
    assert page.dataframe[0].value.shape == (7, 1)


def test_the_same_setting_twice_is_an_instruction(measured, opened):
    page = opened("pages/ablations.py")
    page.selectbox("across").set_value("layers").run()
    assert "Choose different settings" in page.info[0].value


def test_the_auditor_names_every_definition_and_their_spread(measured, opened):
    page = opened("pages/pro_auditor.py")
    assert any("by definition alone" in markdown.value for markdown in page.markdown)


def test_an_example_is_compared_and_its_outcome_says_every_definition(opened):
    page = opened("pages/compare.py")
    next(one for one in page.button if one.label == "See an example").click().run(timeout=60)
    assert any("(Deepest layer) against" in one.value for one in page.markdown)
    table = page.dataframe[0].value
    assert {"exact", "MVTec, limit 0.3", "released code", "MVTec, no limit"} <= set(
        table["Definition"]
    )
    assert len("".join(page.query_params["comparison"])) == 32


def test_a_comparison_that_is_gone_says_so_and_offers_a_new_one(opened):
    page = opened("pages/compare.py")
    page.query_params["comparison"] = "0" * 32
    page.run()
    assert "is gone" in page.warning[0].value
    assert "See an example" in [one.label for one in page.button]


def test_a_comparison_without_masks_says_how_to_add_them(opened):
    page = opened("pages/compare.py")
    page.selectbox("category").set_value("MVTec AD / pill").run()
    assert any("ground_truth" in info.value for info in page.info)


def test_the_live_page_alone_says_how_to_start_it(results, opened):
    assert any("rd4ad serve" in info.value for info in opened("pages/demo.py").info)


def test_a_category_without_a_run_says_how_to_measure_it(results, opened):
    assert any("rd4ad train" in code.value for code in opened("pages/category.py").code)


def test_images_on_disk_are_named_as_a_source(results, monkeypatch, tiny_data, opened):
    monkeypatch.setattr(index_cache, "DATA", tiny_data)
    assert any(
        "MVTec AD: part" in caption.value
        for caption in opened("pages/leaderboard.py").sidebar.caption
    )


def test_the_papers_columns_say_why_their_difference_cannot_be_told_from_chance(results, opened):
    assert any(
        "Not tested for 15 categories" in m.value for m in opened("pages/leaderboard.py").markdown
    )


def test_a_run_against_itself_is_not_distinguishable(measured, opened):
    page = opened("pages/leaderboard.py")
    page.selectbox("dataset").set_value("Generated parts").run()
    name = page.selectbox("first").options[0]
    page.selectbox("first").set_value(name)
    page.selectbox("second").set_value(name).run()
    assert any("0 of 1 differences" in m.value for m in page.markdown)
    shown = page.dataframe[-1].value
    assert shown["distinguishable"].tolist()[0] == "no"
    assert shown["95% interval"].tolist()[0] == "[0.0, 0.0]"


def test_runs_of_a_category_are_shown_with_what_their_intervals_mean(measured, opened):
    page = opened("pages/category.py")
    assert not any("95% interval" in caption.value for caption in page.caption)
    page.selectbox("category").set_value("Generated parts / transistor").run()
    assert any("95% interval over test images" in caption.value for caption in page.caption)


def test_a_measured_metric_stands_beside_what_the_papers_print_with_both_backbones(opened):
    page = opened("pages/category.py")  # on the repository's own results: transistor of MVTec AD
    tables = [frame.value for frame in page.dataframe if "○ Reported" in frame.value]
    assert len(tables) == 1
    rows = tables[0]
    assert set(rows["Method"]) >= {"RD4AD", "PaDiM"}
    assert set(rows["Backbone, here"]) >= {"R18 256 px"}
    expected = rows["● Reproduced"] - rows["○ Reported"]
    assert rows["Difference"].tolist() == pytest.approx(expected.tolist())
    page.toggle("every").set_value(True).run()
    assert any("Definition, theirs" in frame.value for frame in page.dataframe)


def test_the_papers_costs_are_shown_beside_rd4ads_and_the_command_that_measures(results, opened):
    page = opened("pages/complexity.py")
    ratios = page.get("plotly_chart")[0].proto.alt
    assert "PaDiM WR50 3.1 ×, SPADE WR50 4.5 ×" in ratios
    assert "rd4ad bench" in [code.value for code in page.code]


def test_measured_costs_come_from_every_record_and_each_case_from_the_first(results, opened):
    case = {"method": "padim", "backbone": "resnet18", "size_px": 256, "kind": "reproduced",
            "memory_mb": 90.0, "fit": "measured"}  # fmt: skip
    for name, seconds in (("methods", 0.25), ("methods-more", 0.5)):
        rows = [case | {"seconds_per_image": seconds, "seconds_ratio": 2 * seconds + 1}]
        record = {"host": "a host", "note": f"of {name}", "rows": rows}
        (results / "bench").mkdir(exist_ok=True)
        (results / f"bench/{name}.json").write_text(json.dumps(record))
    (results / "bench/methods-bad.json").write_text("{")
    page = opened("pages/complexity.py")
    shown = page.dataframe[0].value.set_index("Method")
    assert shown.loc["PaDiM R18 256 px", "Time, × RD4AD"] == 1.5
    assert "PaDiM R18 256 px 1.5 ×" in page.get("plotly_chart")[0].proto.alt
    assert any("methods-bad.json" in warning.value for warning in page.warning)
    page.toggle("every").set_value(True).run()
    assert (
        page.dataframe[0].value.set_index("Method").loc["PaDiM R18 256 px", "Note"] == "of methods"
    )
    assert not [code for code in page.code if "rd4ad bench" in code.value]


@pytest.fixture
def novelties(novelty_results, novelty_data, monkeypatch):
    """`novelty_results` and their images, which the pages read."""
    monkeypatch.setattr(index_cache, "RESULTS", novelty_results)
    monkeypatch.setattr(index_cache, "DATA", novelty_data)
    return novelty_results


def test_the_novelty_page_has_a_row_a_class_and_their_mean_beside_the_papers(novelties, opened):
    page = opened("pages/novelty.py")
    overview = page.dataframe[0].value.set_index("Dataset")
    assert overview.loc["FashionMNIST", "○ Paper"] == "95.0"
    assert "±" in overview.loc["FashionMNIST", "● Ours"]
    assert "Not measured here" in overview.loc["MNIST", "Note"]
    assert len(page.dataframe[1].value) == 10
    assert page.dataframe[2].value.shape == (10, 10)


def test_the_novelty_page_shows_images_where_they_are_on_disk(novelties, opened, monkeypatch):
    assert any("read from this machine" in c.value for c in opened("pages/novelty.py").caption)
    monkeypatch.setattr(index_cache, "DATA", novelties / "nowhere")
    assert any("RD4AD_DATA" in c.value for c in opened("pages/novelty.py").caption)


def test_runs_of_novelty_are_on_their_own_page_alone(novelties, opened):
    assert opened("pages/novelty.py").selectbox("class").options[0] == "T shirt"
    assert any("No measured run yet" in info.value for info in opened("pages/ablations.py").info)
    assert not any("not listed yet" in info.value for info in opened("pages/ablations.py").info)


def test_without_a_class_measured_the_novelty_page_says_how_to(results, opened):
    assert any("rd4ad novelty" in code.value for code in opened("pages/novelty.py").code)
