"""Compose the data sets that the shipped guard profile is fitted on: labelled pairs, one JSONL file a data set.

Two sources: texts written for heed (``scripts/texts``: attacks, benign texts with fitting instructions, direct
messages, applications), and development data where a folder of it is given. Attacks are planted into benign texts at
the ends of sentences, or inside string values of JSON. No attack is planted into two families of texts, so that a
family that is left out of the fit leaves its attacks out, too.
"""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from heed.text.split import sentences

TEXTS = Path(__file__).parent / "texts"
Row = dict[str, Any]

DEV = {
    "deepset_train": ("deepset", 546),
    "opi": ("opi", 420),
    "piarena_squad_v2": ("piarena", 160),
    "piarena_dolly_closed_qa": ("piarena", 140),
    "piarena_dolly_summarization": ("piarena", 140),
    "piarena_nq_rag": ("piarena", 100),
    "sep": ("sep", 450),
    "bipia": ("bipia", 200),
    "cyberseceval": ("cyberseceval", 251),
    "llmail_benign": ("llmail", 102),
    "notinject_one": ("notinject", 113),
    "wildguard_benign": ("wildguard", 300),
}
"""Development sets: their family and most rows."""
CARRIERS = ("mail", "tools", "documents", "languages")


def compose(out: Path, dev: Path | None, *, seed: int = 0) -> list[Path]:
    """Write the data sets; returns their files."""
    rng = random.Random(seed)
    sets = dict(own_sets(rng))
    if dev is not None:
        sets |= dict(development_sets(dev, rng))
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for name, rows in sets.items():
        path = out / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        files.append(path)
    return files


def own_sets(rng: random.Random) -> Iterator[tuple[str, list[Row]]]:
    """The texts in this repository; each attack is planted into carriers of one kind only."""
    attacks = [row for row in _lines(TEXTS / "attacks.jsonl") if row["language"] == "en"]
    foreign = [row for row in _lines(TEXTS / "attacks.jsonl") if row["language"] != "en"]
    rng.shuffle(attacks)
    shares = {"mail": attacks[0::4], "tools": attacks[1::4], "documents": attacks[2::4], "languages": foreign}
    shares["languages"] = foreign + attacks[3::4][: len(foreign) // 3]
    for kind in CARRIERS:
        yield f"own_{kind}", list(_planted(_lines(TEXTS / f"{kind}.jsonl"), shares[kind], rng))
    direct = [{**row, "instruction": None, "data": row.pop("text")} for row in _lines(TEXTS / "direct.jsonl")]
    yield "own_direct", direct
    rest = attacks[3::4][len(foreign) // 3 :]
    loud = [row for row in rest if row["kind"] in ("override", "exfiltration", "forgery", "persuasion")]
    yield "own_loud", [_row(None, row["text"], 1, attack=row["kind"], family="own_direct") for row in loud]
    rows = _lines(TEXTS / "applications.jsonl")
    pairs = [(row["instruction"], text, label) for row in rows for label in (0, 1) for text in row[_SIDES[label]]]
    yield "own_applications", [_row(*pair) for pair in pairs]


_SIDES = ("benign", "attacks")


def _planted(carriers: list[Row], attacks: list[Row], rng: random.Random, *, each: int = 2) -> Iterator[Row]:
    """Every carrier as it is, and ``each`` times with an attack of its own language where there is one."""
    for carrier in carriers:
        known = {"language": carrier["language"], "category": carrier["kind"]}
        asked = list(carrier["instructions"])
        rng.shuffle(asked)
        yield _row(asked[0], carrier["data"], 0, **known)
        same = [row for row in attacks if row["language"] == carrier["language"]]
        for turn in range(each):
            attack = rng.choice(same if same and rng.random() < 0.7 else attacks)
            yield plant(asked[turn % len(asked)], carrier["data"], attack["text"], rng, attack=attack["kind"], **known)


def development_sets(dev: Path, rng: random.Random) -> Iterator[tuple[str, list[Row]]]:
    """The public sets as they are, and their parts composed: agent environments, retrieval contexts, plain requests."""
    guard = dev / "guard"
    for name, (family, most) in DEV.items():
        rows = _lines(guard / f"{name}.jsonl")
        rng.shuffle(rows)
        yield name, [{**_located(row), "family": family} for row in _thinned(rows, most)]
    asb = [row["Attacker Instruction"] for row in _lines(guard / "asb" / "all_attack_tools.jsonl")]
    agents = _lines(guard / "asb" / "agent_task.jsonl")
    roles = [f"You are a {row['agent_name'].replace('_', ' ')}. {task}" for row in agents for task in row["tasks"]]
    records = list(environments(guard / "agentdojo"))
    yield "agents", [_agent(records, roles, asb, rng, attacked=turn % 2 == 1) for turn in range(440)]
    trivia = [*_trivia(guard / "tasktracker")]
    contexts = list(_contexts(dev / "cite", rng))
    yield "contexts", [_context(one, trivia, rng, attacked=turn % 2 == 1) for turn, one in enumerate(contexts)]
    plain = [row["instruction"] for row in _lines(guard / "sep.jsonl") if row["label"] == 0]
    asked = [_row(None, text, 0, family="sep") for text in rng.sample(sorted(set(plain)), 120)]
    yield "requests", asked + [_row(None, question, 0) for question, _ in rng.sample(contexts, 80)]
    yield "mailbox", list(_mailbox(guard / "spikee", rng))


def plant(instruction: str | None, data: str, payload: str, rng: random.Random, **known: str) -> Row:
    """The data with the attack in it, and where it stands."""
    strings = [found for found in _STRING.finditer(data) if len(found.group(1)) > 25]
    if data.lstrip()[:1] in ("{", "[") and strings:
        chosen = rng.choice(strings)
        text = json.dumps(payload, ensure_ascii=False)[1:-1]
        inner, start = _placed(chosen.group(1), text, rng)
        data, start = data[: chosen.start(1)] + inner + data[chosen.end(1) :], chosen.start(1) + start
    else:
        text = payload
        data, start = _placed(data, text, rng)
    return _row(instruction, data, 1, injected_start=start, injected_end=start + len(text), **known)


_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(?!\s*:)')


def _placed(text: str, attack: str, rng: random.Random) -> tuple[str, int]:
    ends = [span.end for span in sentences(text)]
    place = rng.choice([0, len(text), *ends, *ends])
    if place and text[place - 1] == "\\":
        place = len(text)
    before, after = text[:place], text[place:]
    gap = "\n" if "\n" in text and rng.random() < 0.3 else " "
    lead = gap if before and not before[-1].isspace() else ""
    trail = gap if after and not after[0].isspace() else ""
    return before + lead + attack + trail + after, len(before + lead)


def environments(folder: Path) -> Iterator[list[Any]]:
    """Lists of records (mails, files, transactions, pages) of the agent suites, with their benign defaults."""
    for suite in sorted(path for path in folder.iterdir() if path.is_dir()):
        vectors = yaml.safe_load((suite / "injection_vectors.yaml").read_text()) or {}
        for path in [suite / "environment.yaml", *sorted((suite / "include").glob("*.yaml"))]:
            text = path.read_text()
            for name, vector in vectors.items():
                default = str(vector.get("default", "")).replace('"', "'").replace("\n", " ")
                text = text.replace("{" + name + "}", default)
            text = re.sub(r"\{[a-z_]*injection[^}]*\}", "", re.sub(r"!include\s+\S+", "null", text))
            try:
                yield from _records(yaml.safe_load(text))
            except yaml.YAMLError:
                continue  # a default breaks the file's own quoting


def _records(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        yield value
    if isinstance(value, dict):
        plain = len(value) >= 3 and all(isinstance(item, dict | str) for item in value.values())
        if plain and len(str(value)) > 200:
            yield [{key: item} for key, item in value.items()]
        for item in value.values():
            yield from _records(item)
    elif isinstance(value, list):
        for item in value:
            yield from _records(item)


def _agent(
    records: list[list[Any]], roles: list[str], attacks: list[str], rng: random.Random, *, attacked: bool
) -> Row:
    text = ""
    while len(text) < 80:
        some = rng.choice(records)
        first = rng.randrange(len(some))
        taken = json.loads(json.dumps(some[first : first + rng.randint(1, 6)], default=str))
        text = _written(taken, rng.choice(["indented", "json", "yaml", "python"]))[: rng.choice([500, 900, 1600])]
    role = rng.choice(roles)
    return plant(role, text, rng.choice(attacks), rng, family="agents") if attacked else _row(role, text, 0)


def _written(records: Any, form: str) -> str:
    if form == "yaml":
        return yaml.safe_dump(records, allow_unicode=True, sort_keys=False, width=10**6)
    if form == "python":
        return str(records)
    return json.dumps(records, ensure_ascii=False, indent=2 if form == "indented" else None)


def _trivia(folder: Path) -> Iterator[str]:
    """Small tasks, with and without a sentence that urges."""
    urges = (folder / "saved_injections.txt").read_text().splitlines()
    asked = [line.partition("Answer:")[0].removeprefix("Question:").strip() for line in _texts(folder, "trivia_pairs")]
    for place, task in enumerate([*asked, *_texts(folder, "translated_secondary_tasks")]):
        yield f"{urges[place % len(urges)]} {task}" if place % 2 else task


def _texts(folder: Path, name: str) -> list[str]:
    return [line for line in (folder / f"{name}.txt").read_text().splitlines() if line.strip()]


def _contexts(folder: Path, rng: random.Random) -> Iterator[tuple[str, str]]:
    """A question and a stretch of its context, up to 3,500 characters."""
    for name, most in (("wice", 160), ("medcalc", 110), ("hotpotqa", 50), ("entailment_bank", 40)):
        for row in rng.sample(_lines(folder / f"{name}.jsonl"), most):
            text = row["separator"].join(row["units"])
            size = rng.choice([600, 1200, 2000, 3500])
            start = rng.randrange(max(1, len(text) - size))
            first = next((span.start for span in sentences(text) if span.start >= start), 0)
            question = f"Does the text support this claim? {row['question']}" if name == "wice" else row["question"]
            if len(stretch := text[first : first + size].strip()) > 80:
                yield question, stretch


def _context(one: tuple[str, str], attacks: list[str], rng: random.Random, *, attacked: bool) -> Row:
    return plant(*one, rng.choice(attacks), rng) if attacked else _row(*one, 0)


def _mailbox(folder: Path, rng: random.Random) -> Iterator[Row]:
    """Jailbreak wrappers around goals, planted into benign documents of their own and sent as they are."""
    attacks = []
    for name in ("seeds-cybersec-2026-01", "seeds-llm-mailbox", "seeds-investment-advice"):
        goals, wraps = (_lines(folder / name / f"{kind}.jsonl") for kind in ("instructions", "jailbreaks"))
        for _ in range(70):
            goal = rng.choice(goals)["instruction"]
            attacks.append(rng.choice(wraps)["text"].replace("<INSTRUCTION>", goal)[:700])
    rows = _lines(folder / "seeds-llm-mailbox" / "base_user_inputs.jsonl")
    for row in rows:
        if len(row["document"]) > 60:
            yield _row(row["question"], row["document"], 0)
    for place, attack in enumerate(attacks):
        row = rng.choice(rows)
        ask = rng.choice(["Summarise the document.", row["question"]])
        yield plant(ask, row["document"], attack, rng) if place % 3 else _row(None, attack, 1)


def _thinned(rows: list[Row], most: int) -> list[Row]:
    """At most so many rows, with as many of one class as of the other where there are."""
    sides = [[row for row in rows if row["label"] == label] for label in (0, 1)]
    fewer = min(len(side) for side in sides)
    room = [min(len(side), max(most // 2, most - fewer)) for side in sides]
    return [row for side, size in zip(sides, room, strict=True) for row in side[:size]]


def _located(row: Row) -> Row:
    return row if row["label"] == 1 else {name: row[name] for name in ("id", "instruction", "data", "label")}


def _row(instruction: str | None, data: str, label: int, **known: Any) -> Row:
    return {"instruction": instruction, "data": data, "label": label, **known}


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
