#!/usr/bin/env bash
# zensical 0.0.73: a site that is built with the plugin "offline" loads a script from the network.
#
# The plugin is there so that a built site can be read from disk. One would guess that such a site
# asks for nothing outside. Every page then names a script on a public server (a stand-in for web
# workers, for the search). Without the plugin no page does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check zensical==0.0.73
mkdir -p "$folder/site/docs"
printf '# Home\n\nA page.\n' > "$folder/site/docs/index.md"
cd "$folder/site"
build() {
    printf '[project]\nsite_name = "A site"\n%s\n[project.theme]\nfont = false\n' "$1" > zensical.toml
    "$folder/env/bin/zensical" build --clean > build.log 2>&1
    { grep -o '<script[^>]*src="https\?://[^"]*"' site/index.html || true; } | wc -l
}
without=$(build '')
with=$(build 'plugins = ["offline"]')
echo "scripts from the network: $without without the plugin, $with with it"
[ "$without" = 0 ] && [ "$with" -ge 1 ]
echo "seen: the offline plugin adds a script from the network"
