"""The web page: upload or record speech, see the prediction. All text from outside is escaped here."""

import os
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import of Gradio, which would send usage data otherwise

import gradio as gr
import numpy as np

from pipeline import text
from pipeline.core.errors import SerError
from pipeline.report.tables import subsection
from pipeline.serving import pictures, results
from pipeline.serving.inputs import WindowPlan
from pipeline.serving.limits import Limits, PredictedRecording, PredictionService
from pipeline.serving.results import Prediction, format_time, likeliest_emotion
from pipeline.split import leakage
from pipeline.train.bundle import Card

TITLE = "Speech emotion recognition"
UAR_EXPLAINED = "UAR is the share of recordings classified correctly, averaged over the emotions."
PLACEHOLDER = "Upload or record a voice, or try one of the examples: the prediction appears here."
NOTES = {  # the others are shown as they are
    "clipped": "It is clipped: recorded too loud, which may spoil the prediction.",
    "silence": "It is silent: there is nothing to predict.",
    "no speech found": "No speech was found in it: there is nothing to predict.",
}


def header_html(cards: Sequence[Card]) -> str:
    """Write what must be read before any prediction: warnings, the purpose, the scores."""
    banners = "".join(dict.fromkeys(_warning_html(card) for card in cards))
    lines = "".join(f"<p class='ser-score'>{_score_html(card)}</p>" for card in cards)
    lead = "Which acted emotion does a voice resemble most? This does <b>not</b> tell what anybody feels."
    return f"{banners}<header><h1>{TITLE}</h1><p class='ser-lead'>{lead}</p>{lines}</header>"


def _warning_html(card: Card) -> str:
    """Write the warnings of a bundle; "" if there are none."""
    stamp = results.bundle_stamp(card)
    if not stamp:
        return ""
    sentences = " ".join(sentence for _, sentence in leakage.score_warnings(card.scores))
    return f"<div class='ser-stamp' role='note'><b>{escape(stamp)}</b> {escape(sentences)}</div>"


def _score_html(card: Card) -> str:
    """Write the score of a bundle, chance level, what UAR means, and the model's name."""
    test = subsection(card.scores, "test")
    name = f"{card.arch} on {card.view}, trained on {', '.join(card.corpora)}"
    known = results.bundle_score(card)
    chance = (
        f"; chance is {text.format_percent(test['chance'])}" if known and text.finite_number(test.get("chance")) else ""
    )
    score = f"{known}{chance}" if known else "Never evaluated: its score is unknown"
    meant = f"<br><span>{UAR_EXPLAINED}</span>" if known else ""
    return f"<b>{escape(score)}</b>{meant}<br><span>{escape(name)}</span>"


def _limits_html(cards: Sequence[Card], allowed: Limits, plan: WindowPlan) -> str:
    """Write the limits of use."""
    labels = ", ".join(cards[0].labels)
    points = [
        "The emotions it learnt were <b>acted</b>, by few people, in few sentences. Never decide about a person by it.",
        "The score holds for recordings like those it was trained on; it is lower for another microphone, room, "
        "language or culture.",
        f"A voice that is none of {escape(labels)} still gets one of these labels: look at all the bars.",
        "One voice at a time: music and other speakers change the prediction.",
        f"Recordings of up to {allowed.megabytes:g} MB and {text.format_count(allowed.seconds)} s. Those longer than "
        f"{max(plan.longest, plan.seconds):.1f} s are split into windows of {plan.seconds:g} s.",
        f"Uploads stay on the machine that runs this page and are deleted within {2 * allowed.delete_after / 60:.0f} "
        "minutes.",
    ]
    items = "".join(f"<li>{point}</li>" for point in points)
    return f"<section class='ser-limits'><h2>Limits</h2><ul>{items}</ul></section>"


def _placeholder_html() -> str:
    """Write the placeholder for the prediction."""
    return f"<div class='ser-answer ser-empty'><p>{PLACEHOLDER}</p></div>"


def error_html(sentence: str) -> str:
    """Write why there is no prediction."""
    return f"<div class='ser-answer'><p class='ser-error' role='alert'>{escape(sentence)}</p></div>"


def prediction_html(found: Prediction, picture: str, caption: str) -> str:
    """Write a prediction: the likeliest emotion, all probabilities, notes, the figure, the windows."""
    parts = [
        _headline_html(found),
        _bars_html(found),
        _notes_html(found.notes),
        _figure_html(found, picture, caption),
        _windows_html(found),
    ]
    return f"<div class='ser-answer' role='status'>{''.join(parts)}</div>"


def _headline_html(found: Prediction) -> str:
    """Write the likeliest emotion in large letters."""
    name = likeliest_emotion(found.labels, found.probabilities)
    if name is None or found.probabilities is None:
        return "<p class='ser-verdict'><span>No prediction</span></p>"
    share = _format_probability(float(found.probabilities.max()))
    lead = "On average this sounds" if found.timeline else "This sounds"
    return (
        f"<p class='ser-verdict'><small>{lead} most like acted</small><span>{escape(name)}</span> "
        f"<em>{share}</em></p><p class='ser-name'>{escape(found.name)} · {_format_length(found.seconds)}</p>"
    )


def _format_length(seconds: float) -> str:
    """Write the length of a recording.

    >>> _format_length(3.47), _format_length(75)
    ('3.5 s', '1:15.0 min')
    """
    return f"{seconds:.1f} s" if seconds < 60 else f"{format_time(seconds)} min"


def _bars_html(found: Prediction) -> str:
    """Write all probabilities as bars, the largest on top."""
    if found.probabilities is None:
        return ""
    order = np.argsort(-found.probabilities, kind="stable")
    return (
        f"<ol class='ser-bars'>{''.join(_bar_html(found.labels[k], float(found.probabilities[k])) for k in order)}</ol>"
    )


def _bar_html(label: str, share: float) -> str:
    """Write the bar of one emotion.

    >>> _bar_html("sad", 0.5)
    "<li><span>sad</span><i><b style='width:50.0%'></b></i><span>50 %</span></li>"
    """
    return (
        f"<li><span>{escape(label)}</span><i><b style='width:{100 * share:.1f}%'></b></i>"
        f"<span>{_format_probability(share)}</span></li>"
    )


def _format_probability(share: float) -> str:
    """Write a probability.

    >>> _format_probability(0.004), _format_probability(0.5)
    ('< 1 %', '50 %')
    """
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def _notes_html(some: Sequence[str]) -> str:
    """Write the notes on a recording as a list."""
    lines = "".join(f"<li>{escape(NOTES.get(note, f'{note[:1].upper()}{note[1:]}.'))}</li>" for note in some)
    return f"<ul class='ser-notes'>{lines}</ul>" if lines else ""


def _figure_html(found: Prediction, picture: str, caption: str) -> str:
    """Write the figure; its alternative text includes the caption."""
    shown = f"Waveform and spectrogram{' and timeline' if found.timeline else ''} of the recording. {caption}"
    return f"<figure><img src='{picture}' alt='{escape(shown)}'><figcaption>{escape(caption)}</figcaption></figure>"


def _windows_html(found: Prediction) -> str:
    """Write the windows as a table that opens on demand; "" for a recording that was predicted whole."""
    if not found.timeline:
        return ""
    rows = "".join(
        f"<tr><td>{format_time(each.start)} – {format_time(each.end)}</td><td>"
        f"{escape(likeliest_emotion(found.labels, each.probabilities) or 'no speech')}</td><td>"
        f"{'' if each.probabilities is None else _format_probability(float(each.probabilities.max()))}</td></tr>"
        for each in found.timeline
    )
    return f"<details><summary>{len(found.timeline)} windows as a table</summary><table>{rows}</table></details>"


FONTS = {
    "font": ["system-ui", "sans-serif"],
    "font_mono": ["ui-monospace", "monospace"],
}  # of the system: none is downloaded
API_HTML = (
    "<p class='ser-api'>For programs: <code>POST /predict</code> takes the bytes of a recording and returns JSON.</p>"
)


def build_page(service: PredictionService, examples: Mapping[str, Path]) -> gr.Blocks:
    """Lay out the page.

    Args:
        service: makes the predictions.
        examples: recordings to try, by the label of their button.
    """
    cards = [member.card for member in service.predictor.members]
    answer = _make_callback(service)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(service.limits.delete_after,) * 2) as page:
        gr.HTML(header_html(cards), padding=False)
        with gr.Row(elem_id="columns"):
            with gr.Column():
                voice = _audio_input()
                output = gr.HTML(_placeholder_html(), render=False, padding=False, elem_id="answer")
                _add_examples(voice, output, answer, examples)
            with gr.Column(elem_id="out"):
                output.render()
            with gr.Column(elem_id="limits"):
                gr.HTML(_limits_html(cards, service.limits, service.plan) + API_HTML, padding=False)
        options: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
        gr.on([voice.upload, voice.stop_recording], answer, voice, output, **options)
        voice.clear(_placeholder_html, None, output, **options)
    page.queue(
        max_size=2 * service.limits.max_requests, default_concurrency_limit=service.limits.max_requests, api_open=False
    )
    return page


def _audio_input() -> gr.Audio:
    """Make the input for a recording, whose bytes are passed on unchanged."""
    return gr.Audio(
        sources=["upload", "microphone"],
        type="filepath",
        label="A voice",
        elem_id="voice",
        buttons=[],
        editable=False,
        waveform_options={"waveform_color": "#56B4E9", "waveform_progress_color": "#0072B2"},
    )


def _add_examples(
    voice: gr.Audio, output: gr.HTML, answer: Callable[[str | None], str], examples: Mapping[str, Path]
) -> None:
    """Add recordings that are predicted at one click."""
    if examples:
        gr.Examples(
            [[str(path)] for path in examples.values()],
            voice,
            output,
            answer,
            run_on_click=True,
            cache_examples=False,
            example_labels=list(examples),
            label="Examples: synthetic speech, nobody's voice",
            api_visibility="private",
        )


def _make_callback(service: PredictionService) -> Callable[[str | None], str]:
    """Make the callback that turns an uploaded file into HTML."""

    def answer(path: str | None) -> str:
        if path is None:
            return _placeholder_html()
        try:
            return _predict_html(service, Path(path))
        except SerError as error:
            return error_html(str(error))

    return answer


def _predict_html(service: PredictionService, path: Path) -> str:
    """Predict a file and write the prediction.

    Raises:
        SerError: it cannot be read, or the server is busy.
    """
    with service.request():
        service.limits.refuse_size(path.stat().st_size)
        found = service.predict(path.read_bytes(), name=path.name)
        with service.acquire(service.lock):
            figure = pictures.draw_recording(found.recording, service.predictor.input_settings[0], found.prediction)
            url = pictures.data_url(figure)
    return prediction_html(found.prediction, url, _figure_caption(service, found))


def _figure_caption(service: PredictionService, found: PredictedRecording) -> str:
    """Say which part of the recording the prediction is for."""
    if found.prediction.timeline:
        windows = f"windows of {service.plan.seconds:g} s, one every {service.plan.every:g} s"
        return f"Predicted in {windows}. Below: the stronger the colour, the likelier; grey where nobody speaks."
    if found.prediction.probabilities is None:
        return "No part of it was used."
    start, end = pictures.used_waveform(found.recording, service.predictor.input_settings[0], found.prediction).kept
    return f"Blue: the {end - start:.1f} s given to the model. The rest was cut off."


def theme_options() -> dict[str, Any]:
    """Return theme and CSS, as keyword arguments of ``gr.mount_gradio_app``."""
    css = resources.files("pipeline.serving").joinpath("page.css").read_text(encoding="utf-8")
    return {"theme": gr.themes.Default(primary_hue="blue", **FONTS), "css": css, "footer_links": []}
