// SPDX-License-Identifier: Apache-2.0
private import Executors

/// Sessions in, a vector for each selected row out: embeddings of items and categories beside
/// projected numbers, dense layers, a mask, a transformer.
@safe final class SessionNetwork: HasParameters, @unchecked Sendable {
    /// Of a thread: everything behind the embeddings.
    @safe private final class Part: @unchecked Sendable {
        let projections: [Linear]
        let transformer: Transformer
        /// What each projection makes; of none, what the embeddings do.
        let values: [RowBuffer]
        let slopes: [RowBuffer]
        let mask: RowBuffer
        var sequences = Sequences()
        var selected = SelectedRows()
        var hidden: [Int32] = []
        var pass = TransformerPass()

        init(_ projections: [Linear], _ transformer: Transformer, masked: Int) {
            self.projections = projections
            self.transformer = transformer
            values = projections.dropLast().map { RowBuffer(columns: $0.outputs) }
            slopes = projections.dropLast().map { RowBuffer(columns: $0.outputs) }
            mask = RowBuffer(rows: 1, columns: masked)
        }
    }

    private let settings: SessionTransformerSettings
    let items: Embedding
    let categories: [(name: String, embedding: Embedding, gradient: RowBuffer)]
    let continuous: Linear?
    let mask: Parameter
    private let parts: [Part]

    /// rows × everything known of a row.
    private let input: RowBuffer
    let inputGradient: RowBuffer
    private let numbers: RowBuffer
    private let projected: RowBuffer
    private let projectedGradient: RowBuffer
    private let output: RowBuffer
    /// To be written before `backward`.
    let outputGradient: RowBuffer

    /// `itemCount`: of the dataset.
    init(
        _ settings: SessionTransformerSettings,
        _ columns: SessionColumns,
        itemCount: Int,
        _ generator: inout SeededGenerator
    ) {
        self.settings = settings
        let kind = settings.optimiser.kind
        let width = settings.width
        func embedding(_ codes: Int, _ generator: inout SeededGenerator) -> Embedding {
            Embedding(codes: codes, width: width, for: kind) { 0.05 * generator.normalFloat() }
        }
        items = embedding(itemCount + Int(Code.first(hashBuckets: 0)), &generator)
        var categories: [(String, Embedding, RowBuffer)] = []
        for feature in columns.categories {
            let codes = feature.column.cardinality ?? 0
            categories.append(
                (
                    feature.column.name, embedding(codes, &generator),
                    RowBuffer(rows: codes, columns: width)
                )
            )
        }
        self.categories = categories
        continuous =
            columns.numbers.isEmpty
            ? nil
            : Linear(
                inputs: columns.numbers.count,
                outputs: width,
                rectifies: true,
                start: .uniform,
                for: kind,
                &generator
            )
        let inputs = width * (1 + categories.count + (continuous == nil ? 0 : 1))
        var projections: [Linear] = []
        for outputs in settings.projections(inputs: inputs) {
            projections.append(
                Linear(
                    inputs: projections.last?.outputs ?? inputs,
                    outputs: outputs,
                    rectifies: settings.isTransformers4Rec,
                    start: .uniform,
                    for: kind,
                    &generator
                )
            )
        }
        let masked = projections.first?.outputs ?? inputs
        mask = Parameter(rows: 1, columns: masked, for: kind) { 0.001 * generator.normalFloat() }
        let transformer = Transformer(settings.transformer, for: kind, &generator)
        parts = (0..<settings.threads).map { thread in
            Part(
                thread == 0 ? projections : projections.map { Linear(sharing: $0) },
                thread == 0 ? transformer : Transformer(sharing: transformer),
                masked: masked
            )
        }
        input = RowBuffer(columns: inputs)
        inputGradient = RowBuffer(columns: inputs)
        numbers = RowBuffer(columns: max(1, columns.numbers.count))
        projected = RowBuffer(columns: width)
        projectedGradient = RowBuffer(columns: width)
        output = RowBuffer(columns: width)
        outputGradient = RowBuffer(columns: width)
    }

    /// The same weights, for a pass beside those of the other.
    init(sharing other: SessionNetwork, threads: Int) {
        var settings = other.settings
        settings.threads = threads
        self.settings = settings
        let width = settings.width
        items = Embedding(sharing: other.items)
        categories = other.categories.map {
            ($0.name, Embedding(sharing: $0.embedding), RowBuffer(columns: width))
        }
        continuous = other.continuous.map { Linear(sharing: $0) }
        mask = other.mask
        parts = (0..<threads).map { _ in
            Part(
                other.parts[0].projections.map { Linear(sharing: $0) },
                Transformer(sharing: other.parts[0].transformer),
                masked: other.mask.columns
            )
        }
        input = RowBuffer(columns: other.input.columns)
        inputGradient = RowBuffer(columns: other.input.columns)
        numbers = RowBuffer(columns: other.numbers.columns)
        projected = RowBuffer(columns: width)
        projectedGradient = RowBuffer(columns: width)
        output = RowBuffer(columns: width)
        outputGradient = RowBuffer(columns: width)
    }

    var projections: [Linear] { parts[0].projections }
    var transformer: Transformer { parts[0].transformer }
    /// Of everything known of a row; of the item the last.
    var inputs: Int { input.columns }

    /// Gives the code of what is missing the mean of those that stand for something: where training
    /// never misses it, it has learned nothing of that.
    func fillMissing(ofCategory place: Int, first: Int) {
        let table = categories[place].embedding.table
        table.fill(row: Int(Code.missing), withMeanOf: Array(first..<max(first, table.rows)))
    }

    // MARK: forward

    /// The vectors of the selected rows, valid until the next call.
    ///
    /// `hidden`: rows that the mask stands for, in order; `step`: in training, for dropout.
    func forward(
        _ tokens: SessionTokens,
        _ selected: SelectedRows,
        hidden: [Int32],
        step: Int? = nil
    ) -> RowBuffer {
        embed(tokens)
        output.resize(rows: selected.count)
        outputGradient.resize(rows: selected.count)
        inputGradient.resize(rows: tokens.rows)
        let ranges = split(tokens.sequences)
        for (part, range) in zip(parts, ranges) {
            let first = Int(tokens.sequences.offsets[range.lowerBound])
            let last = Int(tokens.sequences.offsets[range.upperBound])
            part.sequences = tokens.sequences.part(range)
            part.selected = selected.part(range, first: first)
            part.hidden = hidden.filter { first <= $0 && $0 < last }.map { $0 - Int32(first) }
            part.pass = TransformerPass(
                step: step,
                firstRow: first,
                firstSelected: Int(selected.offsets[range.lowerBound])
            )
        }
        parallelFor(ranges.count, threads: ranges.count) { numbers, _ in
            for number in numbers { forward(parts[number]) }
        }
        return output
    }

    /// Ranges of sequences with about as many rows, one a thread.
    private func split(_ sequences: Sequences) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var first = 0
        for part in 1...parts.count {
            let rows = max(1, sequences.rows * part / parts.count)
            var end = first
            // So that the first has one, if there is one.
            while end < sequences.count, part == parts.count || sequences.offsets[end] < rows {
                end += 1
            }
            ranges.append(first..<end)
            first = end
        }
        return ranges
    }

    private func forward(_ part: Part) {
        guard part.sequences.rows > 0 else { return }
        let rows = part.pass.firstRow..<part.pass.firstRow + part.sequences.rows
        var x = RowBuffer(input, rows: rows)
        let body = part.transformer.input
        for (place, layer) in part.projections.enumerated() {
            let y = place + 1 == part.projections.count ? body : part.values[place]
            layer.forward(x, into: y, threads: 1)
            if place == 0 { hide(part, in: y) }
            x = y
        }
        if part.projections.isEmpty {
            body.resize(rows: rows.count)
            unsafe body.start.update(from: x.start, count: x.count)
            hide(part, in: body)
        }
        part.transformer.forward(part.sequences, part.selected, part.pass)
        let first = part.pass.firstSelected
        unsafe output.row(first).update(
            from: part.transformer.output.start,
            count: part.transformer.output.count
        )
    }

    private func hide(_ part: Part, in y: RowBuffer) {
        for row in part.hidden {
            unsafe y.row(Int(row)).update(from: mask.values.start, count: y.columns)
        }
    }

    private func embed(_ tokens: SessionTokens) {
        let width = settings.width
        input.resize(rows: tokens.rows)
        for (place, category) in categories.enumerated() {
            category.embedding.forward(
                tokens.categories[place].values,
                offsets: tokens.categories[place].ends,
                into: input,
                column: place * width,
                threads: settings.threads
            )
        }
        if let continuous {
            numbers.resize(rows: tokens.rows)
            numbers.fill(tokens.numbers)
            continuous.forward(numbers, into: projected, threads: settings.threads)
            let column = categories.count * width
            for row in 0..<tokens.rows {
                unsafe (input.row(row) + column).update(from: projected.row(row), count: width)
            }
        }
        items.forward(
            tokens.items,
            offsets: nil,
            into: input,
            column: itemColumn,
            threads: settings.threads
        )
    }

    private var itemColumn: Int { input.columns - settings.width }

    // MARK: backward

    /// Makes all gradients from that of the output; those of items are the last columns of
    /// `inputGradient`.
    func backward(_ tokens: SessionTokens) {
        let used = parts.filter { $0.sequences.rows > 0 }
        parallelFor(used.count, threads: used.count) { numbers, _ in
            for number in numbers { backward(used[number]) }
        }
        for part in used where part !== parts[0] {
            gradients(of: parts[0]).add(gradients(of: part))
        }
        for (place, category) in categories.enumerated() {
            category.gradient.clear()
            category.embedding.use(
                tokens.categories[place].values,
                offsets: tokens.categories[place].ends
            )
            category.embedding.add(
                inputGradient,
                column: place * settings.width,
                to: category.gradient,
                except: settings.skippedCode
            )
        }
        if let continuous {
            let column = categories.count * settings.width
            projectedGradient.resize(rows: tokens.rows)
            for row in 0..<tokens.rows {
                unsafe projectedGradient.row(row).update(
                    from: inputGradient.row(row) + column,
                    count: settings.width
                )
            }
            continuous.backward(
                projectedGradient,
                x: numbers,
                y: projected,
                into: nil,
                threads: settings.threads
            )
        }
    }

    private func backward(_ part: Part) {
        let first = part.pass.firstSelected
        let transformer = part.transformer
        transformer.outputGradient.resize(rows: part.selected.count)
        unsafe transformer.outputGradient.start.update(
            from: outputGradient.row(first),
            count: transformer.outputGradient.count
        )
        transformer.backward(part.sequences, part.selected, part.pass)
        let rows = part.pass.firstRow..<part.pass.firstRow + part.sequences.rows
        let (x, dx) = (RowBuffer(input, rows: rows), RowBuffer(inputGradient, rows: rows))
        var gradient = transformer.inputGradient
        part.mask.clear()
        for (place, layer) in part.projections.enumerated().reversed() {
            if place == 0 { takeHidden(part, from: gradient) }
            let isLast = place + 1 == part.projections.count
            layer.backward(
                gradient,
                x: place == 0 ? x : part.values[place - 1],
                y: isLast ? transformer.input : part.values[place],
                into: place == 0 ? dx : part.slopes[place - 1],
                threads: 1
            )
            if place > 0 { gradient = part.slopes[place - 1] }
        }
        if part.projections.isEmpty {
            takeHidden(part, from: gradient)
            unsafe dx.start.update(from: gradient.start, count: gradient.count)
        }
    }

    /// What stands behind the mask changes nothing; the mask itself does.
    private func takeHidden(_ part: Part, from gradient: RowBuffer) {
        for row in part.hidden {
            let values = unsafe gradient.row(Int(row))
            for c in 0..<gradient.columns {
                unsafe part.mask.start[c] += values[c]
                unsafe values[c] = 0
            }
        }
    }

    /// Of everything but the items.
    var gradients: [Gradient] {
        gradients(of: parts[0]) + categories.map { Gradient($0.embedding.table, $0.gradient) }
            + (continuous?.gradients ?? [])
    }

    private func gradients(of part: Part) -> [Gradient] {
        part.projections.flatMap(\.gradients) + part.transformer.gradients + [
            Gradient(mask, part.mask)
        ]
    }

    var parameters: [(name: String, parameter: Parameter)] {
        [("items", items.table)] + categories.map { ("category.\($0.name)", $0.embedding.table) }
            + (continuous?.parameters("continuous") ?? [])
            + parts[0].projections.enumerated().flatMap { $1.parameters("projection.\($0)") } + [
                ("mask", mask)
            ] + parts[0].transformer.parameters("layer")
    }
}
