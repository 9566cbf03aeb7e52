import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from csp.middleware import CSPMiddleware
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from apps.core.templatetags.assets import AssetsNotBuilt

MANIFEST: dict[str, Any] = {
    "_times-1.js": {"file": "assets/times-1.js", "css": ["assets/times-1.css"]},
    "src/app.ts": {
        "file": "assets/app-1.js",
        "isEntry": True,
        "imports": ["_times-1.js"],
        "css": ["assets/app-1.css"],
    },
    "src/chart.ts": {"file": "assets/chart-1.js", "isEntry": True},
}


@pytest.fixture
def manifest(tmp_path: Path, settings: Settings) -> Path:
    path = tmp_path / "manifest.json"
    settings.FRONTEND_MANIFEST = path
    settings.STATIC_URL = "/static/"
    path.write_text(json.dumps(MANIFEST))
    return path


def render(tag: str, *, nonce: str | None = "n0nce") -> str:
    request = SimpleNamespace(csp_nonce=nonce) if nonce else None
    return Template("{% load assets %}" + tag).render(Context({"request": request}))


@pytest.mark.usefixtures("manifest")
class TestAssetJs:
    def test_an_entry_is_loaded_as_a_module_with_the_nonce(self) -> None:
        assert render("{% asset_js 'chart' %}") == (
            '<script type="module" src="/static/assets/chart-1.js" nonce="n0nce"></script>'
        )

    def test_what_it_imports_is_fetched_beside_it(self) -> None:
        html = render("{% asset_js 'app' %}")

        assert '<link rel="modulepreload" href="/static/assets/times-1.js" nonce="n0nce">' in html
        assert html.endswith('src="/static/assets/app-1.js" nonce="n0nce"></script>')

    def test_a_nonce_that_nothing_has_asked_for_yet_is_written(self) -> None:
        request = RequestFactory().get("/")
        CSPMiddleware(lambda _: HttpResponse()).process_request(request)

        html = Template("{% load assets %}{% asset_js 'chart' %}").render(
            Context({"request": request})
        )

        assert f'nonce="{request.csp_nonce}"' in html  # type: ignore[attr-defined]

    def test_without_a_request_there_is_no_nonce(self) -> None:
        assert "nonce" not in render("{% asset_js 'app' %}", nonce=None)

    def test_a_nonce_cannot_leave_its_attribute(self) -> None:
        assert '"><script>' not in render("{% asset_js 'app' %}", nonce='"><script>')

    def test_an_unknown_entry_is_named(self) -> None:
        with pytest.raises(AssetsNotBuilt, match="'charts'"):
            render("{% asset_js 'charts' %}")


@pytest.mark.usefixtures("manifest")
class TestAssetCss:
    def test_the_sheets_of_an_entry_and_of_its_imports_are_linked(self) -> None:
        html = render("{% asset_css 'app' %}")

        assert html.splitlines() == [
            '<link rel="stylesheet" href="/static/assets/app-1.css" nonce="n0nce">',
            '<link rel="stylesheet" href="/static/assets/times-1.css" nonce="n0nce">',
        ]

    def test_an_entry_without_sheets_links_none(self) -> None:
        assert render("{% asset_css 'chart' %}") == ""


class TestManifest:
    def test_a_rebuild_is_seen_without_a_restart(self, manifest: Path) -> None:
        render("{% asset_js 'chart' %}")

        manifest.write_text(json.dumps({"src/chart.ts": {"file": "assets/chart-2.js"}}))
        os.utime(manifest, ns=(0, manifest.stat().st_mtime_ns + 1))

        assert "chart-2.js" in render("{% asset_js 'chart' %}")

    def test_a_missing_build_says_how_to_make_it(self, manifest: Path) -> None:
        manifest.unlink()

        with pytest.raises(AssetsNotBuilt, match="npm run build"):
            render("{% asset_css 'app' %}")

    def test_a_page_that_must_never_fail_does_without(self, manifest: Path) -> None:
        manifest.unlink()

        assert render("{% asset_css 'app' missing_ok=True %}") == ""

    def test_chunks_that_import_each_other_are_listed_once(self, manifest: Path) -> None:
        circle = {
            "src/app.ts": {"file": "a.js", "imports": ["b"]},
            "b": {"file": "b.js", "imports": ["src/app.ts"]},
        }
        manifest.write_text(json.dumps(circle))

        assert render("{% asset_js 'app' %}").count("a.js") == 1
