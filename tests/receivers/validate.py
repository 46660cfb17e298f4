#!/usr/bin/env python3
"""Checks exported records against the published schemas.

usage: validate.py FOLDER ocsf|ecs <NDJSON

FOLDER is what `install.sh schemas` printed. Each line is one event; for each fault one line of JSON is printed: the
number of the event's line, the path in it, and what is wrong there. Nothing printed means that all is as it must be.
"""

import ipaddress
import json
import pathlib
import re
import sys

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
# Names of our own, which ECS asks for where it has no field, and texts to search by.
OWN = {"sluice"}


def ocsf(folder):
    """A function that lists the faults of an event by OCSF 1.8.0."""
    from jsonschema import Draft202012Validator
    from ocsf_json_schema import __path__ as package
    from ocsf_json_schema.schema import OcsfJsonSchema
    from referencing import Registry, Resource

    exported = json.loads((pathlib.Path(package[0]) / "ocsf" / "1.8.0.json").read_text())
    schema = OcsfJsonSchema(exported)
    registry = Registry(retrieve=lambda uri: Resource.from_contents(schema.get_schema_from_uri(uri)))

    def faults(event):
        profiles = event["metadata"].get("profiles", [])
        name = schema.lookup_class_name_from_uid(event["class_uid"])
        for profile in profiles:
            if profile not in (exported["classes"][name].get("profiles") or []):
                yield "metadata.profiles", f"{profile} is no profile of {name}"
        validator = Draft202012Validator(schema.get_class_schema(name, profiles), registry=registry)
        for error in validator.iter_errors(event):
            yield ".".join(map(str, error.absolute_path)), error.message
        yield from captions(exported, exported["classes"][name], event, "")

    return faults


def captions(exported, definition, value, path):
    """A name beside a number is the number's own, but where the number means `Other`; nothing deprecated is used."""
    for key, member in value.items():
        attribute = definition["attributes"].get(key)
        if attribute is None:
            continue
        at = f"{path}{key}"
        if "@deprecated" in attribute:
            yield at, "is deprecated"
        sibling = attribute.get("sibling")
        if sibling in value and member != 99 and (entry := (attribute.get("enum") or {}).get(str(member))):
            if value[sibling] != entry["caption"]:
                yield f"{path}{sibling}", f"{value[sibling]!r} is not what {key} {member} is called"
        if attribute["type"] == "object_t":
            for item in member if isinstance(member, list) else [member]:
                yield from captions(exported, exported["objects"][attribute["object_type"]], item, f"{at}.")


def ecs(folder):
    """A function that lists the faults of an event by ECS 9.4.0."""
    fields = json.loads((pathlib.Path(folder) / "ecs.json").read_text())
    required = [name for name, field in fields.items() if field.get("required")]

    def faults(event):
        found = dict(leaves(event, fields, ""))
        for name in required:
            if name not in found:
                yield name, "is required"
        for name, value in found.items():
            if name not in fields:
                yield name, "is no field"
                continue
            yield from of_field(fields[name], name, value)
        yield from of_types(fields["event.category"], found)

    return faults


def leaves(value, fields, path):
    """The members of an event that are fields, by their whole names."""
    for key, member in value.items():
        name = f"{path}{key}"
        if name in OWN:
            continue
        field = fields.get(name)
        if isinstance(member, dict) and (field is None or field["type"] not in ("object", "flattened", "nested")):
            yield from leaves(member, fields, f"{name}.")
        else:
            yield name, member


def of_field(field, name, value):
    is_list = "array" in field["normalize"]
    if is_list != isinstance(value, list):
        yield name, "is a list" if is_list else "is no list"
        return
    words = [each["name"] for each in field.get("allowed_values", [])]
    for item in value if is_list else [value]:
        if not is_of_type(field, item):
            yield name, f"{item!r} is no {field['type']}"
        elif words and item not in words:
            yield name, f"{item!r} is none of its words"


def is_of_type(field, item):
    match field["type"]:
        case "keyword" | "constant_keyword" | "wildcard" | "match_only_text":
            return isinstance(item, str)
        case "long" | "integer":
            return isinstance(item, int) and not isinstance(item, bool) and abs(item) < 2**63
        case "float" | "double" | "scaled_float":
            return isinstance(item, int | float) and not isinstance(item, bool)
        case "boolean":
            return isinstance(item, bool)
        case "date":
            return isinstance(item, str) and DATE.fullmatch(item) is not None
        case "ip":
            try:
                return bool(ipaddress.ip_address(item))
            except ValueError:
                return False
        case "object" | "flattened" | "nested":
            # Labels hold texts and nothing below them.
            values = item.values() if isinstance(item, dict) else [None]
            return all(isinstance(each, str) for each in values) or field.get("object_type") != "keyword"
        case other:
            raise ValueError(f"{other} is of no field that we use")


def of_types(category, found):
    """What goes with the category."""
    expected = {each["name"]: each["expected_event_types"] for each in category["allowed_values"]}
    for name in found.get("event.category", []):
        for word in found.get("event.type", []):
            if word not in expected.get(name, [word]):
                yield "event.type", f"{word!r} does not go with {name!r}"


def main():
    folder, which = sys.argv[1:]
    faults = {"ocsf": ocsf, "ecs": ecs}[which](folder)
    for number, line in enumerate(sys.stdin):
        for path, said in faults(json.loads(line)):
            print(json.dumps({"line": number, "path": path, "said": said}))


if __name__ == "__main__":
    main()
