import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addressOf, relativeLink } from "../../../src/http/docs/addresses.ts";
import { highlight } from "../../../src/http/docs/highlight.ts";
import { readNavigation } from "../../../src/http/docs/navigation.ts";
import { renderMarkdown } from "../../../src/http/docs/render-markdown.ts";
import { testHttp } from "./http.ts";

const DOCS = join(import.meta.dir, "../../../docs");

describe("the pages of the documentation", () => {
  test("are one for each file of docs/, with headings, contents and neighbours", async () => {
    const { ask } = testHttp();
    for (const file of new Bun.Glob("**/*.md").scanSync({ cwd: DOCS })) {
      const page = await ask(`/docs/${addressOf(`docs/${file}`)}`);
      expect([file, page.status]).toEqual([file, 200]);
      expect(page.headers.get("content-type")).toBe("text/html;charset=utf-8");
      const policy = page.headers.get("content-security-policy") ?? "";
      expect(policy).toContain("require-trusted-types-for 'script'");
      expect(policy).not.toContain("unsafe");
      const text = await page.text();
      expect(text).toMatch(/<h1 id="[^"]+">/);
      expect(text).toContain('aria-current="page"');
      expect(text).toMatch(/rel="(?:prev|next)"/);
      expect(text).not.toMatch(/ on[a-z]+="|<script>|style="|<!--/);
    }
    const fleet = await (await ask("/docs/fleet")).text();
    expect(fleet).toContain('<h2 id="control">Control <a class="anchor" href="#control"');
    expect(fleet).toContain('<li><a href="#control">Control</a></li>');
  });

  test("have no dead link: every page, heading, picture, script and style is there", async () => {
    const { ask } = testHttp();
    const read = async (address: string) => {
      const response = await ask(address);
      return response.status === 200 ? await response.text() : null;
    };
    const seen = new Map<string, string | null>([["/docs/", await read("/docs/")]]);
    const dead: string[] = [];
    for (const [address, text] of seen) {
      if (text === null || !text.startsWith("<!doctype html>") || !address.startsWith("/docs/")) continue;
      for (const [, link = ""] of text.matchAll(/(?:href|src)="([^"]+)"/g)) {
        if (/^[a-z]+:/.test(link)) continue;
        const { pathname, hash } = new URL(link, `http://channel.test${address}`);
        if (!seen.has(pathname)) seen.set(pathname, await read(pathname));
        const target = seen.get(pathname) ?? null;
        const id = decodeURIComponent(hash.slice(1));
        if (target === null || (id !== "" && !target.includes(`id="${id}"`)))
          dead.push(`${address}: ${link}`);
      }
    }
    expect(dead).toEqual([]);
    expect(seen.size).toBeGreaterThan(35);
    expect([...seen.keys()]).toContain("/docs/concepts.svg");
  });

  test("have a search index whose places are there", async () => {
    const { ask } = testHttp();
    const index: unknown = await (await ask("/docs/search.json")).json();
    if (!Array.isArray(index)) throw new Error("the index is no list");
    const places: string[][] = index;
    expect(places.length).toBeGreaterThan(150);
    const control = places.find(([address]) => address === "fleet#control");
    expect(control?.slice(0, 3)).toEqual(["fleet#control", "Several servers", "Control"]);
    expect(control?.[3]).toContain("hold on every server");
    expect(places.filter(([, , , text = ""]) => /<\/?[a-z]+ class=|&lt;|&quot;/.test(text))).toEqual([]);
  });

  test("serve files that they link to as text, and pictures with their type", async () => {
    const { ask } = testHttp();
    const file = await ask("/docs/files/deploy/nginx.conf");
    expect(file.headers.get("content-type")).toBe("text/plain;charset=utf-8");
    expect(await file.text()).toContain("proxy_pass");
    const picture = await ask("/docs/concepts.svg");
    expect(picture.headers.get("content-type")).toBe("image/svg+xml");
    for (const path of [
      "/docs/fleet/",
      "/docs/nothing",
      "/docs/files/package.json",
      "/docs/__proto__",
      "/docs//",
    ])
      expect((await ask(path)).status).toBe(404);
    expect((await ask("/docs/fleet", { method: "POST" })).status).toBe(405);
  });

  test("have an ETag, and their folder without its slash redirects below the prefix", async () => {
    const { ask } = testHttp({ basePath: "/hub" });
    const tag = (await ask("/docs/fleet")).headers.get("etag") ?? "";
    expect((await ask("/docs/fleet", { headers: { "if-none-match": tag } })).status).toBe(304);
    const folder = await ask("/docs");
    expect([folder.status, folder.headers.get("location")]).toEqual([308, "/hub/docs/"]);
    // Relative links only: the page works below any prefix.
    expect(await (await ask("/docs/")).text()).not.toMatch(/(?:href|src)="\//);
  });

  test("are replaced by files of static_path", async () => {
    const root = mkdtempSync(join(tmpdir(), "channel-docs-"));
    try {
      mkdirSync(join(root, "docs"));
      writeFileSync(join(root, "docs", "fleet"), "ours");
      const { ask } = testHttp({ staticPath: root });
      expect(await (await ask("/docs/fleet")).text()).toBe("ours");
      expect((await ask("/docs/errors")).status).toBe(200);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

describe("rendering", () => {
  const render = (markdown: string) =>
    renderMarkdown(markdown, (href) => (href === "gone" ? null : `to/${href}`));

  test("headings get the ids that GitHub gives them", () => {
    const { headings, title } = render("# A page\n\n## `sse`: on & off?\n\n### Two words\n\n### Two words\n");
    expect(title).toBe("A page");
    expect(headings.map(({ id }) => id)).toEqual(["sse-on--off", "two-words", "two-words-1"]);
  });

  test("a link without a page is text, a comment is left out, and text is escaped", () => {
    const { html } = render('# A\n\n<!-- made -->\n\n[b](gone) [c](c) ![d](d.svg) "<x>" & `<y>`\n');
    expect(html).toContain('<span class="unlinked" title="gone in the source repository">b</span>');
    expect(html).toContain('<a href="to/c">c</a>');
    expect(html).toContain('<img src="to/d.svg" alt="d" loading="lazy">');
    expect(html).toContain("<code>&lt;y&gt;</code>");
    expect(html).not.toContain("made");
  });

  test("a picture that has a dark version shows it in the dark", () => {
    const { html } = renderMarkdown("# A\n\n![a](a-light.webp) ![b](b-light.webp)\n", (href) =>
      href === "b-dark.webp" ? null : href,
    );
    expect(html).toContain(
      '<picture><source media="(prefers-color-scheme: dark)" srcset="a-dark.webp"><img src="a-light.webp"',
    );
    expect(html).toContain('</picture> <img src="b-light.webp"');
  });

  test("the text of a section is plain", () => {
    const { sections } = render("# A\n\none `a<b>` **two**\n\n## B\n\n| x | y |\n| - | - |\n| 1 | 2 |\n");
    expect(sections.map(({ heading, text }) => [heading.text, text])).toEqual([
      ["A", "one a<b> two"],
      ["B", "x y 1 2"],
    ]);
  });

  test("code of known languages has comments, strings and keywords marked", () => {
    expect(highlight('x = "a#b"  # why <x>', "toml")).toBe(
      'x = <span class="string">&quot;a#b&quot;</span>  <span class="comment"># why &lt;x&gt;</span>',
    );
    expect(highlight("return fetch('http://x//y')", "js")).toBe(
      '<span class="keyword">return</span> fetch(<span class="string">\'http://x//y\'</span>)',
    );
    expect(highlight("curl -d '{\n}' http://x/#a --in-place", "sh")).toBe(
      "curl -d <span class=\"string\">'{\n}'</span> http://x/#a --in-place",
    );
    expect(highlight("a < b", "unknown")).toBe("a &lt; b");
  });

  test("addresses and links between folders", () => {
    expect(addressOf("docs/README.md")).toBe("");
    expect(addressOf("docs/tasks/README.md")).toBe("tasks");
    expect(addressOf("SECURITY.md")).toBe("repository/security");
    expect(addressOf("README.md")).toBe("repository/readme");
    expect(relativeLink("", "")).toBe("./");
    expect(relativeLink("tasks/nginx", "")).toBe("../");
    expect(relativeLink("tasks/nginx", "fleet")).toBe("../fleet");
  });

  test("groups come from tables, lists below a heading, and the first text", () => {
    const groups = readNavigation(
      "# D\n\nNew: [F](f.md).\n\n| to begin | |\n| - | - |\n| [A](a.md) | [part](b.md#part), [a b](b.md) |\n\n## Tasks\n\n- [C](c.md)\n- [D](https://d.test)\n\n[E](e.md)\n",
    );
    expect(groups).toEqual([
      { title: "", entries: [{ href: "f.md", title: "F" }] },
      {
        title: "To begin",
        entries: [
          { href: "a.md", title: "A" },
          { href: "b.md", title: "a b" },
        ],
      },
      { title: "Tasks", entries: [{ href: "c.md", title: "C" }] },
    ]);
  });
});
