//! What a page promises: nothing from outside becomes markup, every number is there, all of it in one file.

use super::*;
use lift_image::resize::RgbView;

const NASTY: &str = "<script>alert(\"x\")</script>' onload='y\n\u{202e}gpj";

fn nasty_page() -> Page {
    let mut table = Table::new(NASTY, &[NASTY, "#images", "#share"]);
    table.push(vec![
        Cell::text(NASTY),
        Cell::Count(12_345),
        Cell::Percent(0.5, 1),
    ]);
    table.push(vec![Cell::text("b"), Cell::Missing, Cell::Float(-2.5, 2)]);
    let pixels = [200; 40 * 20 * 3];
    let view = RgbView {
        width: 40,
        height: 20,
        pixels: &pixels,
    };
    let thumbnail = Thumbnail::new(view, 16).unwrap();
    assert_eq!(thumbnail.size(), (16, 8));
    let plot = Plot::lines(
        Axis::linear(NASTY),
        Axis::log("y"),
        vec![(
            NASTY.to_owned(),
            vec![(0.0, 1.0), (1.0, 100.0), (f64::NAN, 0.0)],
        )],
    )
    .rules(vec![
        Rule::Vertical(0.5, NASTY.to_owned()),
        Rule::Horizontal(1e9, String::new()),
    ]);
    let figure = Figure {
        title: NASTY.to_owned(),
        description: NASTY.to_owned(),
        caption: NASTY.to_owned(),
        plot,
    };
    let gallery = Gallery {
        caption: NASTY.to_owned(),
        groups: vec![Group {
            caption: NASTY.to_owned(),
            images: vec![(thumbnail, NASTY.to_owned())],
        }],
    };
    let parts = vec![
        Block::Text(NASTY.to_owned()),
        Block::Heading(NASTY.to_owned()),
        Block::Warning(NASTY.to_owned()),
        Block::Code(NASTY.to_owned()),
        Block::KeyFigures(vec![KeyFigure::new(NASTY, Cell::Count(7)).note(NASTY)]),
        Block::Table(table),
        Block::Chart(figure),
        Block::Gallery(gallery),
    ];
    let section = |parts| Section {
        heading: NASTY.to_owned(),
        parts,
    };
    Page {
        title: NASTY.to_owned(),
        subtitle: NASTY.to_owned(),
        sections: vec![section(parts), section(Vec::new())],
        footer: NASTY.to_owned(),
    }
}

#[test]
fn names_from_outside_never_become_markup() {
    let html = nasty_page().html();
    assert_eq!(html.matches("<script").count(), 1, "only the page's own");
    assert!(html.contains("&lt;script&gt;alert(&quot;x&quot;)"));
    for raw in ["alert(\"x\")", "' onload='", "\u{202e}"] {
        assert!(!html.contains(raw), "{raw:?}");
    }
    let markdown = nasty_page().markdown(10);
    // What stands between fences is shown as it is.
    let fenced: Vec<_> = markdown.split("```").collect();
    assert_eq!(fenced.len(), 3);
    let markdown = [fenced[0], fenced[2]].concat();
    assert!(!markdown.contains("<script") && !markdown.contains('\u{202e}'));
}

#[test]
fn a_page_fetches_nothing() {
    let html = nasty_page().html();
    // `xmlns` is a name, not an address, and plotters' outer element is replaced by ours.
    for address in [
        "http:", "https:", "src=\"/", "url(", "@import", "<link", "<iframe",
    ] {
        assert!(!html.contains(address), "{address}");
    }
    assert!(html.contains("default-src 'none'"));
    assert!(html.contains("src=\"data:image/jpeg;base64,/9j/"));
}

#[test]
fn cells_are_written_as_their_kind_says() {
    let html = nasty_page().html();
    assert!(html.contains("<td>12,345<td>50.0 %\n"));
    assert!(html.contains("<td>b<td>–<td>-2.50\n"));
    assert!(html.contains("<table class=\" n2 n3\">"));
    let markdown = nasty_page().markdown(1);
    assert!(
        markdown.contains("| 12,345 | 50.0 % |\n\nThe first 1 of 2 rows.\n"),
        "{markdown}"
    );
}

#[test]
fn every_drawn_colour_has_a_place_in_the_style_sheet() {
    let html = nasty_page().html();
    let (style, body) = html.split_once("</style>").unwrap();
    let mut colours = 0;
    for attribute in ["fill=\"#", "stroke=\"#"] {
        for (at, _) in body.match_indices(attribute) {
            let end = at + attribute.len() + 6;
            assert!(style.contains(&body[at..end]), "{}", &body[at..end]);
            colours += 1;
        }
    }
    assert!(colours > 10, "{colours}");
}

#[test]
fn charts_are_named_and_described() {
    let html = nasty_page().html();
    for number in 1..=2 {
        assert!(html.contains(&format!("aria-labelledby=\"t{number} d{number}\"")));
        assert!(html.contains(&format!("<desc id=\"d{number}\">&lt;script")));
    }
    // Once wide, once narrow, each with the last tick of the logarithmic axis.
    assert_eq!(html.matches(">100</text>").count(), 2);
}

#[test]
fn bars_areas_and_reliability_are_drawn() {
    let draw = |plot: &Plot| chart::svg(plot, chart::Width::Wide).0;
    let histogram = Plot::histogram(
        Axis::linear("x"),
        Axis::log("y"),
        &[0.0, 1.0, 2.0, 3.0],
        &[5, 0, 1],
    );
    // A bar of 0 has no place on a logarithmic axis; a bar of 1 has.
    assert_eq!(draw(&histogram).matches("<rect").count(), 2);
    let bins = [(0.0, 0.5, 0.25), (0.5, 1.0, 0.75)];
    let calibration = draw(&Plot::calibration(&bins));
    assert_eq!(calibration.matches("<rect").count(), 2);
    let points = (1..=20).map(|i| (f64::from(i), f64::from(i % 5))).collect();
    let groups = vec![("few".to_owned(), Colour::Vermillion, points)];
    let scatter = draw(&Plot::scatter(Axis::log("x"), Axis::linear("y"), groups));
    assert_eq!(scatter.matches("<circle").count(), 20);
    // The smoothed line is the one line more than the axes have.
    let lines = |svg: &str| svg.matches("<polyline").count();
    assert_eq!(lines(&scatter), lines(&draw(&histogram)) + 1);
}

#[test]
fn one_point_is_seen_and_steps_are_whole() {
    let line = |points: Vec<(f64, f64)>| {
        let end = points.last().map_or(1.0, |point| point.0);
        let series = vec![Series::new("", Colour::Blue, Mark::Line(points))];
        let plot = Plot::new(
            Axis::whole("step").range(0.0, end),
            Axis::linear("y"),
            series,
        );
        chart::svg(&plot, chart::Width::Wide).0
    };
    let dots = |svg: &str| svg.matches("<circle").count();
    let one = line(vec![(1.0, 1.4)]);
    assert_eq!(dots(&one), 1);
    assert!(
        !one.contains(">0.5</text>") || !one.contains(">1.5</text>"),
        "{one}"
    );
    assert_eq!(dots(&line(vec![(1.0, 2.0), (2.0, 1.0)])), 2);
    assert_eq!(
        dots(&line((1..9).map(|i| (f64::from(i), 1.0)).collect())),
        0
    );
}

#[test]
fn groups_stand_under_their_names_with_their_intervals() {
    let names = ["purple crescent", "<b>"].map(str::to_owned);
    let bars = Mark::Bars(vec![(-0.4, 0.0, 50.0), (0.6, 1.0, 100.0)]);
    let whiskers = Mark::Whiskers(vec![(-0.2, 30.0, 70.0), (0.8, 80.0, 100.0)]);
    let series = vec![
        Series::new("before", Colour::Orange, bars),
        Series::new("", Colour::Ink, whiskers),
    ];
    let plot = Plot::new(
        Axis::named("class", names),
        Axis::linear("%").range(0.0, 100.0),
        series,
    );
    let (svg, _) = chart::svg(&plot, chart::Width::Wide);
    assert!(
        svg.contains("purple crescent") && svg.contains("&lt;b&gt;"),
        "{svg}"
    );
    assert_eq!(svg.matches("<rect").count(), 2);
    // An upright line and two ends each, and the axes.
    let bare = Plot {
        series: plot.series[..1].to_vec(),
        ..plot.clone()
    };
    let lines = |svg: &str| svg.matches("<polyline").count();
    assert_eq!(
        lines(&svg),
        lines(&chart::svg(&bare, chart::Width::Wide).0) + 6
    );
}
