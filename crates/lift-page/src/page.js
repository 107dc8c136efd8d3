// Sorts tables by a click on a heading, filters them by a search field. Nothing else.
(function () {
  'use strict';
  function value(row, column) {
    var cell = row.cells[column];
    return cell ? cell.textContent : '';
  }
  // "1,234", "-0.5" and "12.3 %" are numbers; "–" is none and comes last.
  function number(text) {
    var n = parseFloat(text.replace(/,/g, ''));
    return isNaN(n) ? null : n;
  }
  function sort(table, column, numeric, descending) {
    var body = table.tBodies[0];
    var rows = Array.prototype.map.call(body.rows, function (row, at) {
      var text = value(row, column);
      return { row: row, at: at, key: numeric ? number(text) : text.toLowerCase() };
    });
    rows.sort(function (a, b) {
      if (a.key === b.key) return a.at - b.at;
      if (a.key === null) return 1;
      if (b.key === null) return -1;
      var order = a.key < b.key ? -1 : 1;
      return descending ? -order : order;
    });
    rows.forEach(function (entry) { body.appendChild(entry.row); });
  }
  document.querySelectorAll('table').forEach(function (table) {
    var heads = table.querySelectorAll('thead th');
    heads.forEach(function (head, column) {
      var button = document.createElement('button');
      button.type = 'button';
      while (head.firstChild) button.appendChild(head.firstChild);
      head.appendChild(button);
      button.addEventListener('click', function () {
        var numeric = head.dataset.kind === 'number';
        var now = head.getAttribute('aria-sort');
        // Numbers: the largest first.
        var descending = now ? now === 'ascending' : numeric;
        heads.forEach(function (other) { other.removeAttribute('aria-sort'); });
        head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
        sort(table, column, numeric, descending);
      });
    });
    if (table.tBodies[0].rows.length < 25) return;
    var label = document.createElement('label');
    label.className = 'search';
    label.append('Search ');
    var field = document.createElement('input');
    field.type = 'search';
    label.append(field);
    var found = document.createElement('output');
    label.append(' ', found);
    field.addEventListener('input', function () {
      var wanted = field.value.toLowerCase();
      var shown = 0;
      Array.prototype.forEach.call(table.tBodies[0].rows, function (row) {
        var hit = row.textContent.toLowerCase().indexOf(wanted) !== -1;
        row.hidden = !hit;
        if (hit) shown += 1;
      });
      found.textContent = wanted ? shown + ' rows' : '';
    });
    table.closest('.scroll').before(label);
  });
})();
