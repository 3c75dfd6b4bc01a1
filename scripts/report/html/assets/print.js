// What is wrong, in full: built when it is opened. For print, all of it is opened, and a matrix that is wider than a
// page is cut into one table per group of columns. Runs after cell-details.js, in the same script element.
(() => {
  const { cells, cellDetails, make } = window.labReport;
  const grid = document.querySelector('table.matrix');
  /** More columns than this do not fit on a portrait page in a size that can be read. */
  const MAX_COLUMNS = 32;

  const fullLists = [...document.querySelectorAll('.in-full')].map((place) => {
    const ids = JSON.parse(place.dataset.cells);
    const summary = make('summary', 'opener', ids.length === 1 ? 'In full' : `All ${ids.length} in full`);
    const list = make('details', '', summary);
    const fill = () => {
      if (list.childElementCount > 1) return;
      list.append(...ids.map((id) => cellDetails(cells.get(id))));
    };
    list.addEventListener('toggle', () => {
      if (list.open) fill();
    });
    place.append(list);
    return { list, fill };
  });

  let openedForPrint = [];

  function openForPrint() {
    for (const { fill } of fullLists) fill();
    const closed = [...document.querySelectorAll('.cause details:not([open])')];
    for (const each of closed) each.open = true;
    openedForPrint.push(...closed);
    cutMatrix();
  }

  function cutMatrix() {
    if (!grid || document.querySelector('.pieces')) return;
    const [titles, headings, names] = [...grid.tHead.rows].map((row) => [...row.cells]);
    if (names.length <= MAX_COLUMNS) return;
    let from = 0;
    const pieces = headings.map((heading) => {
      const to = from + heading.colSpan;
      const caption = `${titleOver(titles.slice(1), from)} ${heading.textContent}`;
      const rows = [...grid.tBodies[0].rows].map((row) =>
        make('tr', '', ...copies([row.cells[0], ...[...row.cells].slice(from + 1, to + 1)])),
      );
      const head = make('tr', '', make('td', 'corner'), ...copies(names.slice(from, to)));
      from = to;
      return make(
        'table',
        'matrix piece',
        make('caption', '', caption),
        make('thead', '', head),
        make('tbody', '', ...rows),
      );
    });
    const place = make('div', 'pieces', ...pieces);
    place.setAttribute('aria-hidden', 'true');
    grid.parentElement.after(place);
    document.body.classList.add('in-pieces');
  }

  function titleOver(titles, column) {
    let end = 0;
    return titles.find((title) => {
      end += title.colSpan;
      return column < end;
    }).textContent;
  }

  /** Copies without what must be there only once, or be reached by keyboard. */
  function copies(elements) {
    return elements.map((element) => {
      const copy = element.cloneNode(true);
      copy.removeAttribute('id');
      copy.removeAttribute('tabindex');
      return copy;
    });
  }

  function closeAfterPrint() {
    for (const each of openedForPrint) each.open = false;
    openedForPrint = [];
    document.querySelector('.pieces')?.remove();
    document.body.classList.remove('in-pieces');
  }

  addEventListener('beforeprint', openForPrint);
  addEventListener('afterprint', closeAfterPrint);
  // A browser that is told to show the page as printed sends no such events.
  matchMedia('print').addEventListener('change', ({ matches }) =>
    matches ? openForPrint() : closeAfterPrint(),
  );
})();
