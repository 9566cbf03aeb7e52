"""Links to the built front end: ``{% asset_css "app" %}`` and ``{% asset_js "app" %}``.

The names carry a hash of the content; the manifest that the build writes says which is which.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

from django import template
from django.conf import settings
from django.template import Context
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()


class AssetsNotBuilt(RuntimeError):
    """The front end was not built, or was built without this entry."""


class Chunk(TypedDict, total=False):
    """One file of the build, as Vite's manifest describes it."""

    file: str
    css: list[str]
    imports: list[str]


Manifest = Mapping[str, Chunk]


@register.simple_tag(takes_context=True)
def asset_css(context: Context, entry: str, *, missing_ok: bool = False) -> SafeString:
    """Link the style sheets of an entry; ``missing_ok`` is for pages that must never fail."""
    try:
        files = _css_of(entry)
    except AssetsNotBuilt:
        if missing_ok:
            return SafeString("")
        raise
    nonce = _nonce(context)
    return format_html_join(
        "\n", '<link rel="stylesheet" href="{}"{}>', ((_url(file), nonce) for file in files)
    )


@register.simple_tag(takes_context=True)
def asset_js(context: Context, entry: str) -> SafeString:
    """Load the script of an entry as a module, and fetch what it imports beside it."""
    first, *imported = _js_of(entry)
    nonce = _nonce(context)
    preloads = format_html_join(
        "\n", '<link rel="modulepreload" href="{}"{}>', ((_url(file), nonce) for file in imported)
    )
    script = format_html('<script type="module" src="{}"{}></script>', _url(first), nonce)
    return format_html("{}\n{}", preloads, script) if imported else script


def _js_of(entry: str) -> list[str]:
    manifest = _manifest()
    return [manifest[key]["file"] for key in _with_imports(manifest, _key(manifest, entry))]


def _css_of(entry: str) -> list[str]:
    manifest = _manifest()
    keys = _with_imports(manifest, _key(manifest, entry))
    return list(dict.fromkeys(file for key in keys for file in manifest[key].get("css", [])))


def _with_imports(manifest: Manifest, key: str) -> Iterator[str]:
    """The chunk first, then what it imports, each once."""
    found = [key]
    for current in found:
        yield current
        found += [name for name in manifest[current].get("imports", []) if name not in found]


def _key(manifest: Manifest, entry: str) -> str:
    key = f"src/{entry}.ts"
    if key not in manifest:
        raise AssetsNotBuilt(f"the front end has no entry {entry!r}: see static/vite.config.ts")
    return key


def _manifest() -> Manifest:
    path = Path(settings.FRONTEND_MANIFEST)
    try:
        written_at = path.stat().st_mtime_ns
    except FileNotFoundError as error:
        raise AssetsNotBuilt(
            f"{path} is missing: build the front end with `npm ci && npm run build` in static/"
        ) from error
    return _read_manifest(path, written_at)


# A rebuild changes the time it was written, so a running server sees it without a restart.
@lru_cache(maxsize=2)
def _read_manifest(path: Path, written_at: int) -> Manifest:
    manifest: Manifest = json.loads(path.read_text())
    return manifest


def _url(file: str) -> str:
    return static(file)


def _nonce(context: Context) -> SafeString:
    # Not `if nonce`: django-csp's is made, and true, only once it has been written.
    nonce = getattr(context.get("request"), "csp_nonce", None)
    return SafeString("") if nonce is None else format_html(' nonce="{}"', nonce)
