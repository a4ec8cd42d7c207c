"""One-class novelty: every class of a dataset as the normal one, the images that fool it."""

import streamlit as st

from rd4ad.web.explorer import charts, frame, index_cache, run_cache, run_text, tables, widgets
from rd4ad.web.explorer.screens import novelty
from rd4ad.web.explorer.style import KIND_NAMES

units = frame.open_page(
    "Novelty",
    "Can the method tell one class from all others? It learns from one class of MNIST or CIFAR-10, "
    "is tested on all ten, and scores an image by the sum of its anomaly map.",
    terms=("auroc",),
)
found = novelty.studies(run_cache.novelty_runs())
st.subheader(f"Mean image AUROC over ten classes, {units.name}")
st.dataframe(
    novelty.overview(found, index_cache.studies(), units.text), width="stretch", hide_index=True,
    placeholder="–", alt="Mean image AUROC by dataset, reported and reproduced",
)  # fmt: skip
st.caption(
    f"{KIND_NAMES['reported']} · {KIND_NAMES['reproduced']}: mean ± standard deviation over the "
    "ten classes, never over fewer. Images of 32 px; gray ones are not normalized, as in the "
    "released code."
)
if not found:
    widgets.empty(
        "No class was measured yet. The first command measures all ten; the second lists them "
        "here:",
        "rd4ad novelty --data DIR --dataset mnist --normal all\nrd4ad results index",
    )
    st.stop()

first, second, third = st.columns([2, 2, 5], vertical_alignment="bottom")
with first:
    dataset = widgets.choose(
        "Dataset", list(dict.fromkeys(study.dataset for study in found)), "dataset",
        "Shows another dataset.",
    )  # fmt: skip
mine = {study.setting: study for study in found if study.dataset == dataset}
with third:
    setting = widgets.choose(
        "Setting",
        list(mine),
        "setting",
        "Shows runs with another scoring or training configuration; those of most classes first.",
    )
study = mine[setting]
with second:
    chosen = widgets.choose_named(
        "Normal class", {name: novelty.named(name) for name in study.runs}, "class",
        "Changes the histogram and the images below.",
    )  # fmt: skip

images = {name: run_cache.images_of(run) for name, run in study.runs.items()}
table = novelty.class_table(study, images)
left, right = st.columns(2)
with left:
    st.subheader(f"Every class as the normal one, {units.name}")
    st.dataframe(
        novelty.styled_classes(table, units.text), width="stretch",
        height=35 * (len(table) + 1) + 3, placeholder="–", alt=novelty.in_words(table, units.text),
    )  # fmt: skip
    mean = novelty.mean_of(study)
    st.markdown(
        mean.reason
        or f"Mean **{units.text(mean.value)}** ± {units.text(mean.sd)} (standard deviation over "
        f"classes); lowest: {novelty.named(mean.lowest)}."
    )
    st.caption(
        "In brackets: the 95% interval over test images; it does not cover the spread between "
        f"seeds. {tables.MARK}: the best class. Looks most normal: the other class that the score "
        "separates worst. Pixel metrics are not defined: a whole image is novel, there are no "
        "masks."
    )
with right:
    widgets.show(
        charts.curve_chart("image_roc", run_cache.roc_by_class(study.runs)),
        f"ROC curves of {len(table)} classes: {novelty.in_words(table, units.text)}",
        "roc",
    )

st.subheader("Which other class looks normal")
st.dataframe(
    novelty.styled_matrix(novelty.matrix(images), units.text), width="stretch",
    height=35 * (len(table) + 1) + 3, placeholder="–",
    alt="Image AUROC of every normal class against every other class",
)  # fmt: skip
st.caption(
    "Rows: the normal class. Columns: the only class that it is compared with. Image AUROC, "
    f"{units.name}; 50% is chance. Dark and bold: separated worst."
)

st.subheader("Scores of test images")
st.caption("Normal (light) and novel (dark), one panel per normal class.")
widgets.show(
    charts.small_histograms(
        {novelty.named(name): rows for name, rows in images.items()}, others="novel"
    ),
    "Small histograms of scores, one per class",
    "overview",
)
widgets.show(
    charts.histogram(images[chosen], by_type=True),
    f"Histogram of scores with {novelty.named(chosen)} as the normal class, by class",
    "histogram",
)

st.subheader(f"Images it gets wrong, {novelty.named(chosen)} as the normal class")
pictures = run_cache.novelty_images(dataset)
fooled = novelty.fooled(images[chosen])
for title, rows in (
    ("Normal images with the highest scores", fooled.normals),
    ("Novel images with the lowest scores", fooled.others),
):
    st.markdown(f"**{title}**")
    for column, row in zip(st.columns(10), rows.to_dict("records"), strict=False):
        said = f"{novelty.named(row['defect_type'])}, {row['score']:.1f}"
        picture = pictures.get(row["image"])
        if picture is None:
            column.caption(said)
        else:
            column.image(novelty.thumbnail(picture), caption=said, alt=said)
st.caption(
    "Class and score. "
    + (
        "The images are read from this machine; none is part of this project."
        if pictures
        else (
            "To see the images, put the dataset into the folder RD4AD_DATA; its license must "
            "allow showing them."
        )
    )
)

with st.expander("Effect of score, layers and setting"):
    grid = novelty.by_score(study)
    st.dataframe(
        grid.style.format(units.text, na_rep="–"), width="stretch", placeholder="–",
        alt="Mean image AUROC by layers and score",
    )  # fmt: skip
    st.caption(
        f"Mean image AUROC of the classes above, {units.name}. Rows: layers. Columns: the sum of "
        "the unsmoothed anomaly map, or the maximum of the map after a Gaussian of that width."
    )
    st.dataframe(
        novelty.across_settings(list(mine.values())).style.format(units.text, na_rep="–"),
        width="stretch", placeholder="–", alt="Image AUROC by class and setting",
    )  # fmt: skip
    st.caption(f"Image AUROC of every class by setting, {units.name}.")
with st.expander(f"How {novelty.named(chosen)} was measured"):
    run = study.runs[chosen]
    widgets.show_card(
        f"Run {run.record['run_id']}",
        run_text.run_card(run, index_cache.on_the_hub(run.record["run_id"])),
        run_text.commands(run),
    )
