// Builds what is known about one cell, for the panel and for the list of causes. It builds elements with textContent
// only, so no text of the lab can become markup.
(() => {
  const data = JSON.parse(document.getElementById('report-data').textContent);

  /** An element with a class, and children that are elements, texts or null. */
  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  function sign(kind) {
    const element = make('span', `sign ${kind}`, data.kinds[kind].sign);
    element.setAttribute('aria-hidden', 'true');
    return element;
  }

  function cellDetails(cell, headingId) {
    const heading = make('h3', '', sign(cell.kind), make('code', '', cell.id));
    if (headingId) heading.id = headingId;
    return make(
      'div',
      'cell',
      heading,
      make('p', 'quiet', [data.kinds[cell.kind].text, cell.added ?? []].flat().join('; ')),
      cell.evidence ? make('p', 'sentence', cell.evidence.sentence) : null,
      comparison(cell),
      cell.detail === null ? null : make('p', 'detail', cell.detail),
      make('h4', '', 'Why'),
      make('p', 'why', data.texts[cell.why]),
      ...chain(cell),
      ...proof(cell.proof),
      ...evidence(cell.evidence),
      make('h4', 'command-title', 'In a terminal'),
      make('pre', 'command', `npx lab explain '${cell.id}'`),
    );
  }

  function comparison({ expected, observed, address, port, talk }) {
    const none = '–';
    const value = (list) => list.join(' or ') || none;
    const rows = [
      [
        'outcome',
        expected.outcome === 'harness-error' ? none : expected.outcome,
        observed?.outcome ?? 'not tried',
      ],
      ['answers', value(expected.servers), observed ? value(observed.servers) : none],
      ['seen as', value(expected.clients), observed ? value(observed.clients) : none],
    ];
    const wantedStatus = expected.status ?? (observed?.status === undefined ? undefined : 'any');
    if (wantedStatus !== undefined) rows.push(['status', `${wantedStatus}`, `${observed?.status ?? none}`]);
    const differs = [
      observed !== null && expected.outcome !== observed.outcome,
      isOutside(observed?.servers, expected.servers),
      isOutside(observed?.clients, expected.clients),
      observed !== null && expected.status !== undefined && expected.status !== observed.status,
    ];
    const table = make(
      'table',
      'compare',
      make('thead', '', make('tr', '', head('', 'col'), head('expected', 'col'), head('observed', 'col'))),
      make(
        'tbody',
        '',
        ...rows.map(([name, wanted, seen], index) =>
          make(
            'tr',
            '',
            head(name, 'row'),
            make('td', '', make('code', '', wanted)),
            make('td', differs[index] ? 'differs' : '', make('code', '', seen)),
          ),
        ),
      ),
    );
    const facts = [`to ${address}, ${port}`];
    if (observed?.connectMs != null) facts.push(`connected in ${observed.connectMs} ms`);
    if (observed) facts.push(`${observed.attempts} ${observed.attempts === 1 ? 'attempt' : 'attempts'}`);
    if (talk) facts.push(talk);
    return make('div', '', make('p', 'quiet', facts.join(' · ')), table);
  }

  function isOutside(seen, wanted) {
    return seen?.some((each) => !wanted.includes(each)) ?? false;
  }

  function head(text, scope) {
    const element = make('th', '', text);
    element.scope = scope;
    return element;
  }

  function chain(cell) {
    if (cell.chain.length === 0) return [];
    const differing = cell.evidence?.hops.find(({ agrees }) => !agrees)?.at;
    const steps = cell.chain.map((index) => data.steps[index]);
    const first = steps.findIndex(([at]) => at === differing);
    const items = steps.map(([at, layer, text], index) =>
      make(
        'li',
        index === first ? 'differs' : '',
        make('span', 'at', at),
        make('span', 'layer', layer),
        index === first ? make('span', 'differs-note', '✗ differs here') : null,
        make('div', '', data.texts[text]),
      ),
    );
    return [make('h4', '', "The packet's predicted path"), make('ol', 'hops chain', ...items)];
  }

  function proof(sentences) {
    if (!sentences) return [];
    const items = sentences.map((sentence) => make('li', '', sentence));
    return [make('h4', '', 'What proves that it fails there'), make('ul', 'proof', ...items)];
  }

  function evidence(found) {
    if (!found) return [];
    const items = found.hops.map(({ at, agrees, text, detail }) =>
      make(
        'li',
        agrees ? 'agrees' : 'differs',
        make('span', 'at', at),
        agrees ? make('span', 'layer', '✓ as predicted') : make('span', 'differs-note', '✗ differs'),
        make('div', '', text),
        detail.length === 0 ? null : make('pre', '', detail.join('\n')),
      ),
    );
    return [
      make('h4', '', 'What was seen, hop by hop'),
      make('ol', 'hops evidence', ...items),
      found.file ? make('p', 'quiet', 'All of it: ', make('code', '', found.file)) : null,
    ];
  }

  window.labReport = { cells: new Map(data.cells.map((cell) => [cell.id, cell])), cellDetails, make };
})();
