"""The page: hand in a voice, see the answer. Everything it needs comes from this machine."""

import os
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported, which else calls home

import gradio as gr

from pipeline.errors import SerError
from pipeline.serving import markup, pictures
from pipeline.serving.desk import Desk, Judged

FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # none is fetched
API = "<p class='ser-api'>For programs: <code>POST /predict</code> takes the bytes of a recording and gives JSON.</p>"


def build(desk: Desk, examples: Mapping[str, Path]) -> gr.Blocks:
    """Lay the page out.

    Args:
        desk: who judges.
        examples: recordings to try, by the word on their button.
    """
    cards = [member.card for member in desk.predictor.members]
    answer = answering(desk)
    with gr.Blocks(title=markup.TITLE, analytics_enabled=False, delete_cache=(desk.limits.kept,) * 2) as page:
        gr.HTML(markup.head(cards), padding=False)
        with gr.Row(elem_id="desk"):
            with gr.Column():
                voice = recorder()
                shelf = gr.HTML(markup.waiting(), render=False, padding=False, elem_id="answer")
                tried(voice, shelf, answer, examples)
            with gr.Column(elem_id="out"):
                shelf.render()
            with gr.Column(elem_id="limits"):
                gr.HTML(markup.limits(cards, desk.limits, desk.plan) + API, padding=False)
        quietly: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
        gr.on([voice.upload, voice.stop_recording], answer, voice, shelf, **quietly)
        voice.clear(markup.waiting, None, shelf, **quietly)
    page.queue(max_size=2 * desk.limits.at_once, default_concurrency_limit=desk.limits.at_once, api_open=False)
    return page


def recorder() -> gr.Audio:
    """Take a voice; its bytes are left as they are."""
    return gr.Audio(
        sources=["upload", "microphone"],
        type="filepath",
        label="A voice",
        elem_id="voice",
        buttons=[],
        editable=False,
        waveform_options={"waveform_color": "#56B4E9", "waveform_progress_color": "#0072B2"},
    )


def tried(voice: gr.Audio, shelf: gr.HTML, answer: Callable[[str | None], str], examples: Mapping[str, Path]) -> None:
    """Offer recordings that are judged at one click."""
    if examples:
        gr.Examples(
            [[str(path)] for path in examples.values()],
            voice,
            shelf,
            answer,
            run_on_click=True,
            cache_examples=False,
            example_labels=list(examples),
            label="Examples: synthetic speech, nobody's voice",
            api_visibility="private",
        )


def answering(desk: Desk) -> Callable[[str | None], str]:
    """Give what turns an uploaded file into an answer in HTML."""

    def answer(path: str | None) -> str:
        if path is None:
            return markup.waiting()
        try:
            return judged(desk, Path(path))
        except SerError as error:
            return markup.refusal(str(error))

    return answer


def judged(desk: Desk, path: Path) -> str:
    """Judge a file and write the answer.

    Raises:
        SerError: it cannot be judged.
    """
    with desk.place():
        desk.limits.refuse_size(path.stat().st_size)
        found = desk.judge(path.read_bytes(), name=path.name)
        with desk.turn(desk.lock):
            picture = pictures.picture(found.recording, desk.predictor.hearings[0], found.answer)
            address = pictures.address(picture)
    return markup.answer(found.answer, address, caption(desk, found))


def caption(desk: Desk, found: Judged) -> str:
    """Say what of the recording was heard."""
    if found.answer.timeline:
        windows = f"windows of {desk.plan.seconds:g} s, one every {desk.plan.every:g} s"
        return f"Heard in {windows}. Below: the fuller the colour the likelier; grey where nobody speaks."
    if found.answer.probabilities is None:
        return "Nothing of it was judged."
    start, end = pictures.sound(found.recording, desk.predictor.hearings[0], found.answer).kept
    return f"Blue: the {end - start:.1f} s that were heard. The rest was cut off."


def look() -> dict[str, Any]:
    """Give how it looks, for `gr.mount_gradio_app`."""
    css = resources.files("pipeline.serving").joinpath("page.css").read_text(encoding="utf-8")
    return {"theme": gr.themes.Default(primary_hue="blue", **FONTS), "css": css, "footer_links": []}
