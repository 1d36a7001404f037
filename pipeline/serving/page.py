"""The web page: upload or record speech, see the answer. All text from outside is escaped here."""

import os
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported, which else calls home

import gradio as gr
import numpy as np

from pipeline import text
from pipeline.core.errors import SerError
from pipeline.report.tables import part
from pipeline.serving import pictures, results
from pipeline.serving.inputs import Plan
from pipeline.serving.limits import Desk, Judged, Limits
from pipeline.serving.results import Answer, clock, emotion
from pipeline.split import leakage
from pipeline.train.bundle import Card

TITLE = "Speech emotion recognition"
MEANT = "UAR is the share of recordings called right, averaged over the emotions."
WAITING = "Upload or record a voice, or try one of the examples: the answer appears here."
NOTES = {  # said of a recording
    "clipped": "It is clipped: recorded too loud, which may spoil the answer.",
    "silence": "It is silent: there is nothing to judge.",
    "no speech found": "No speech was found in it: there is nothing to judge.",
}


def head_html(cards: Sequence[Card]) -> str:
    """Write what must be read before any answer: warnings, what this is, how well it does."""
    banners = "".join(dict.fromkeys(banner_html(card) for card in cards))
    lines = "".join(f"<p class='ser-score'>{score_html(card)}</p>" for card in cards)
    lead = "How alike is a voice to acted emotions? It does <b>not</b> say what anybody feels."
    return f"{banners}<header><h1>{TITLE}</h1><p class='ser-lead'>{lead}</p>{lines}</header>"


def banner_html(card: Card) -> str:
    """Write the stamps of a bundle, the sentences behind them below; "" for a bundle without."""
    stamp = results.bundle_stamp(card)
    if not stamp:
        return ""
    sentences = " ".join(sentence for _, sentence in leakage.score_warnings(card.scores))
    return f"<div class='ser-stamp' role='note'><b>{escape(stamp)}</b> {escape(sentences)}</div>"


def score_html(card: Card) -> str:
    """Write how good a bundle is, who it is, and what the number amounts to."""
    test = part(card.scores, "test")
    name = f"{card.arch} on {card.view}, trained on {', '.join(card.corpora)}"
    known = results.bundle_score(card)
    chance = (
        f"; chance is {text.format_percent(test['chance'])}" if known and text.finite_number(test.get("chance")) else ""
    )
    told = f"{known}{chance}" if known else "Never evaluated: nobody knows how good it is"
    meant = f"<br><span>{MEANT}</span>" if known else ""
    return f"<b>{escape(told)}</b>{meant}<br><span>{escape(name)}</span>"


def limits_html(cards: Sequence[Card], allowed: Limits, plan: Plan) -> str:
    """Write what the answers are good for, and what not."""
    labels = ", ".join(cards[0].labels)
    points = [
        "Its emotions are <b>acted</b>, by few people, in few sentences. It must decide nothing about a person.",
        "The score is for recordings like those it heard. Another microphone, room, language or culture gives less.",
        f"A voice that is none of {escape(labels)} is still called one of them: look at all the bars.",
        "One voice at a time; music and other speakers are heard with it.",
        f"Recordings up to {allowed.megabytes:g} MB and {text.format_count(allowed.seconds)} s. What lasts longer than "
        f"{max(plan.longest, plan.seconds):.1f} s is heard in windows of {plan.seconds:g} s.",
        f"What you upload stays on the machine that runs this page and is deleted within "
        f"{2 * allowed.kept / 60:.0f} minutes.",
    ]
    items = "".join(f"<li>{point}</li>" for point in points)
    return f"<section class='ser-limits'><h2>Limits</h2><ul>{items}</ul></section>"


def waiting_html() -> str:
    """Write what stands where the answer will be."""
    return f"<div class='ser-answer ser-empty'><p>{WAITING}</p></div>"


def refusal_html(sentence: str) -> str:
    """Write why there is no answer."""
    return f"<div class='ser-answer'><p class='ser-error' role='alert'>{escape(sentence)}</p></div>"


def answer_html(found: Answer, picture: str, caption: str) -> str:
    """Write an answer: the likeliest emotion, all probabilities, what is odd, the picture, the windows."""
    parts = [verdict(found), bars(found), notes(found.notes), figure(found, picture, caption), windows(found)]
    return f"<div class='ser-answer' role='status'>{''.join(parts)}</div>"


def verdict(found: Answer) -> str:
    """Write the likeliest emotion of a recording large."""
    name = emotion(found.labels, found.probabilities)
    if name is None or found.probabilities is None:
        return "<p class='ser-verdict'><span>No answer</span></p>"
    share = percent(float(found.probabilities.max()))
    over = "On average this sounds" if found.timeline else "This sounds"
    return (
        f"<p class='ser-verdict'><small>{over} most like acted</small><span>{escape(name)}</span> "
        f"<em>{share}</em></p><p class='ser-name'>{escape(found.name)} · {length(found.seconds)}</p>"
    )


def length(seconds: float) -> str:
    """Write how long a recording is.

    >>> length(3.47), length(75)
    ('3.5 s', '1:15.0 min')
    """
    return f"{seconds:.1f} s" if seconds < 60 else f"{clock(seconds)} min"


def bars(found: Answer) -> str:
    """Write all probabilities as bars, the likeliest on top."""
    if found.probabilities is None:
        return ""
    order = np.argsort(-found.probabilities, kind="stable")
    return f"<ol class='ser-bars'>{''.join(bar(found.labels[k], float(found.probabilities[k])) for k in order)}</ol>"


def bar(label: str, share: float) -> str:
    """Write one bar.

    >>> bar("sad", 0.5)
    "<li><span>sad</span><i><b style='width:50.0%'></b></i><span>50 %</span></li>"
    """
    return (
        f"<li><span>{escape(label)}</span><i><b style='width:{100 * share:.1f}%'></b></i>"
        f"<span>{percent(share)}</span></li>"
    )


def percent(share: float) -> str:
    """Write a probability.

    >>> percent(0.004), percent(0.5)
    ('< 1 %', '50 %')
    """
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def notes(some: Sequence[str]) -> str:
    """Write what is odd about a recording."""
    texts: Mapping[str, str] = NOTES
    lines = "".join(f"<li>{escape(texts.get(note, f'It is {note}.'))}</li>" for note in some)
    return f"<ul class='ser-notes'>{lines}</ul>" if lines else ""


def figure(found: Answer, picture: str, caption: str) -> str:
    """Show the picture; its words for those who do not see it are those of the caption."""
    shown = f"Waveform and spectrogram{' and timeline' if found.timeline else ''} of the recording. {caption}"
    return f"<figure><img src='{picture}' alt='{escape(shown)}'><figcaption>{escape(caption)}</figcaption></figure>"


def windows(found: Answer) -> str:
    """Write the windows as a table that opens on demand; "" where the recording was heard whole."""
    if not found.timeline:
        return ""
    rows = "".join(
        f"<tr><td>{clock(each.start)} – {clock(each.end)}</td><td>"
        f"{escape(emotion(found.labels, each.probabilities) or 'no speech')}</td><td>"
        f"{'' if each.probabilities is None else percent(float(each.probabilities.max()))}</td></tr>"
        for each in found.timeline
    )
    return f"<details><summary>{len(found.timeline)} windows as a table</summary><table>{rows}</table></details>"


FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # none is fetched
API = "<p class='ser-api'>For programs: <code>POST /predict</code> takes the bytes of a recording and gives JSON.</p>"


def build_page(desk: Desk, examples: Mapping[str, Path]) -> gr.Blocks:
    """Lay the page out.

    Args:
        desk: who judges.
        examples: recordings to try, by the word on their button.
    """
    cards = [member.card for member in desk.predictor.members]
    answer = answering(desk)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(desk.limits.kept,) * 2) as page:
        gr.HTML(head_html(cards), padding=False)
        with gr.Row(elem_id="desk"):
            with gr.Column():
                voice = recorder()
                shelf = gr.HTML(waiting_html(), render=False, padding=False, elem_id="answer")
                tried(voice, shelf, answer, examples)
            with gr.Column(elem_id="out"):
                shelf.render()
            with gr.Column(elem_id="limits"):
                gr.HTML(limits_html(cards, desk.limits, desk.plan) + API, padding=False)
        quietly: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
        gr.on([voice.upload, voice.stop_recording], answer, voice, shelf, **quietly)
        voice.clear(waiting_html, None, shelf, **quietly)
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
            return waiting_html()
        try:
            return judged(desk, Path(path))
        except SerError as error:
            return refusal_html(str(error))

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
    return answer_html(found.answer, address, caption(desk, found))


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
